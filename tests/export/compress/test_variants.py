from dataclasses import replace

import pytest

from canopy.export.compress.plot import draw_variants
from canopy.export.compress.variants import Speed, Variant, choose, compare, pareto_front

WHOLE = Variant(
    name="whole",
    how="as exported",
    n_bytes=800,
    val_accuracy=0.95,
    val_nll=0.1,
    accuracy=0.94,
    macro_f1=0.9,
    rarest_recall=0.8,
    nll=0.1,
    row_difference=2e-6,
    speeds=[Speed(n_threads=1, one_row_us=50, batch_ms=4, rows_per_second=256_000)],
)


def variant(name: str, *, n_bytes: int, val_accuracy: float, batch_ms: float = 4.0) -> Variant:
    speed = replace(WHOLE.speeds[0], batch_ms=batch_ms)
    return replace(
        WHOLE,
        name=name,
        n_bytes=n_bytes,
        val_accuracy=val_accuracy,
        accuracy=val_accuracy - 0.01,
        speeds=[speed],
    )


INT8 = variant("int8", n_bytes=250, val_accuracy=0.949, batch_ms=2)
PRUNED = variant("pruned", n_bytes=220, val_accuracy=0.9485, batch_ms=3)
TINY = variant("tiny", n_bytes=100, val_accuracy=0.93, batch_ms=1)
ALL = (WHOLE, INT8, PRUNED, TINY)


@pytest.mark.parametrize(
    ("budget", "expected"), [(0.0, WHOLE), (0.0011, INT8), (0.002, PRUNED), (0.03, TINY)]
)
def test_the_smallest_within_the_budget_is_chosen(budget: float, expected: Variant) -> None:
    assert choose(ALL, max_accuracy_drop=budget, max_nll_increase=0.01) is expected


def test_what_takes_rows_together_is_not_served() -> None:
    together = replace(TINY, name="together", n_bytes=10, val_accuracy=0.95, row_difference=0.02)
    assert choose((*ALL, together), max_accuracy_drop=0.002, max_nll_increase=0.01) is PRUNED
    assert "together" in pareto_front((*ALL, together))


def test_the_whole_model_is_always_left() -> None:
    whole = replace(WHOLE, row_difference=1e-3)
    assert (
        choose((whole, replace(INT8, val_accuracy=0.5)), max_accuracy_drop=0.0, max_nll_increase=0.01)
        is whole
    )


def test_of_two_as_small_the_more_accurate_is_chosen() -> None:
    better = variant("better", n_bytes=PRUNED.n_bytes, val_accuracy=0.9495)
    assert choose((*ALL, better), max_accuracy_drop=0.01, max_nll_increase=0.01) is better


def test_what_is_worse_in_all_is_not_on_the_front() -> None:
    beaten = variant("beaten", n_bytes=250, val_accuracy=0.9489, batch_ms=2)
    assert pareto_front((*ALL, beaten)) == ["whole", "int8", "pruned", "tiny"]


def test_variants_are_compared_with_the_first() -> None:
    found = compare(ALL)[1]
    assert (found["times_smaller"], found["times_faster"]) == (3.2, 2.0)
    assert found["accuracy_drop"] == pytest.approx(0.001)
    assert found["speeds"][0]["batch_ms"] == 2


def test_the_picture_shows_each_variant_and_which_is_served() -> None:
    figure = draw_variants(ALL, chosen=PRUNED, least=0.948)
    for axes in figure.axes:
        lines = {line.get_label(): line for line in axes.lines}
        for item in ALL:
            assert lines[item.name].get_ydata() == [item.accuracy]
        assert lines["budget"].get_ydata()[0] == pytest.approx(0.938)
        (ring,) = (line for line in axes.lines if line.get_markersize() > 10)
        assert ring.get_ydata() == [PRUNED.accuracy]
    assert figure.get_suptitle() == "Smaller and faster models; served: pruned"


def test_what_is_less_sure_of_the_truth_is_not_served() -> None:
    unsure = replace(TINY, name="unsure", n_bytes=10, val_accuracy=0.95, val_nll=0.2)
    assert choose((*ALL, unsure), max_accuracy_drop=0.002, max_nll_increase=0.09) is PRUNED
    assert choose((*ALL, unsure), max_accuracy_drop=0.002, max_nll_increase=0.11) is unsure

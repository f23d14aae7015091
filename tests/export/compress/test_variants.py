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


BETTER = variant("better", n_bytes=PRUNED.n_bytes, val_accuracy=0.9495)
TOGETHER = replace(TINY, name="together", n_bytes=10, val_accuracy=0.95, row_difference=0.02)
UNSURE = replace(TINY, name="unsure", n_bytes=10, val_accuracy=0.95, val_nll=0.2)


@pytest.mark.parametrize(
    ("variants", "max_accuracy_drop", "max_nll_increase", "expected"),
    [
        pytest.param(ALL, 0.0, 0.01, WHOLE, id="no budget"),
        pytest.param(ALL, 0.0011, 0.01, INT8, id="small budget"),
        pytest.param(ALL, 0.002, 0.01, PRUNED, id="medium budget"),
        pytest.param(ALL, 0.03, 0.01, TINY, id="large budget"),
        pytest.param((*ALL, BETTER), 0.01, 0.01, BETTER, id="more accurate of two as small"),
        pytest.param((*ALL, TOGETHER), 0.002, 0.01, PRUNED, id="not batch-invariant"),
        pytest.param((*ALL, UNSURE), 0.002, 0.09, PRUNED, id="log loss beyond the budget"),
        pytest.param((*ALL, UNSURE), 0.002, 0.11, UNSURE, id="log loss within the budget"),
    ],
)
def test_choose_takes_the_smallest_within_the_budget(
    variants: tuple[Variant, ...], max_accuracy_drop: float, max_nll_increase: float, expected: Variant
) -> None:
    budget = {"max_accuracy_drop": max_accuracy_drop, "max_nll_increase": max_nll_increase}
    assert choose(variants, **budget) is expected


def test_choose_never_takes_ranges_of_each_batch() -> None:
    variants = (WHOLE, replace(INT8, name="whole, int8 dynamic", row_difference=0.0))
    assert choose(variants, max_accuracy_drop=1.0, max_nll_increase=1.0) is WHOLE


def test_choose_may_always_take_the_whole_model() -> None:
    whole = replace(WHOLE, row_difference=1e-3)
    others = (replace(INT8, val_accuracy=0.5),)
    assert choose((whole, *others), max_accuracy_drop=0.0, max_nll_increase=0.01) is whole


def test_pareto_front_leaves_out_what_is_worse_in_all() -> None:
    beaten = variant("beaten", n_bytes=250, val_accuracy=0.9489, batch_ms=2)
    assert pareto_front((*ALL, beaten)) == ["whole", "int8", "pruned", "tiny"]
    assert "together" in pareto_front((*ALL, TOGETHER))


def test_compare_relates_variants_to_the_first() -> None:
    found = compare(ALL)[1]
    assert (found["times_smaller"], found["times_faster"]) == (3.2, 2.0)
    assert found["accuracy_drop"] == pytest.approx(0.001)
    assert found["speeds"][0]["batch_ms"] == 2


def test_plot_shows_each_variant_and_which_is_served() -> None:
    figure = draw_variants(ALL, chosen=PRUNED, least=0.948)
    for axes in figure.axes:
        lines = {line.get_label(): line for line in axes.lines}
        for item in ALL:
            assert lines[item.name].get_ydata() == [item.accuracy]
        assert lines["budget"].get_ydata()[0] == pytest.approx(0.938)
        (ring,) = (line for line in axes.lines if line.get_markersize() > 10)
        assert ring.get_ydata() == [PRUNED.accuracy]
    assert figure.get_suptitle() == "Smaller and faster models; served: pruned"

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics

from canopy.compare import significance
from canopy.compare.significance import compare_predictions, differences, mcnemar

Ints = NDArray[np.int64]


def draw(n_rows: int, *, right_a: float, right_b: float, seed: int = 0) -> tuple[Ints, Ints, Ints]:
    """Draw labels of three uneven classes and predictions of two models that are right so often."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, size=n_rows, p=[0.6, 0.3, 0.1])
    guesses = ((rng.random(n_rows) < share, rng.integers(3, size=n_rows)) for share in (right_a, right_b))
    return labels, *(np.where(is_right, labels, guess) for is_right, guess in guesses)


def expected_differences(labels: Ints, a: Ints, b: Ints) -> tuple[float, float]:
    f1_a, f1_b = (metrics.f1_score(labels, predicted, average="macro") for predicted in (a, b))
    return np.mean(b == labels) - np.mean(a == labels), f1_b - f1_a


def test_differences_are_those_of_scikit_learn_for_all_rows_and_for_drawn_ones() -> None:
    labels, a, b = draw(500, right_a=0.5, right_b=0.6)
    found = compare_predictions(labels, a, b)
    expected = expected_differences(labels, a, b)
    assert (found.accuracy.difference, found.macro_f1.difference) == pytest.approx(expected, abs=1e-12)
    assert found.n_only_b == ((b == labels) & (a != labels)).sum()
    assert found.n_only_a == ((a == labels) & (b != labels)).sum()
    rows = np.stack(draw(40, right_a=0.3, right_b=0.5))
    cells = np.unique(rows, axis=1)
    rng = np.random.default_rng(1)
    for _ in range(20):
        drawn = rows[:, rng.integers(40, size=40)]
        counts = (drawn[:, :, None] == cells[:, None]).all(axis=0).sum(axis=0)
        found = differences(cells.T, counts[None].astype(float))[:, 0]
        assert found == pytest.approx(expected_differences(*drawn), abs=1e-12)


def test_intervals_are_those_of_a_bootstrap_over_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.stack(draw(600, right_a=0.4, right_b=0.5))
    found = compare_predictions(*rows, n_resamples=20_000)
    monkeypatch.setattr(significance, "_BLOCK", 100_000)
    assert compare_predictions(*rows, n_resamples=20_000) == found, "blocks of resamples change nothing"
    cells, cell = np.unique(rows, axis=1, return_inverse=True)
    rng = np.random.default_rng(2)
    counts = [np.bincount(rng.choice(cell, size=600), minlength=cells.shape[1]) for _ in range(5_000)]
    ends = np.quantile(differences(cells.T, np.array(counts, dtype=float)), [0.025, 0.975], axis=1).T
    for interval, (low, high) in zip((found.accuracy, found.macro_f1), ends, strict=True):
        # Of 5,000 resamples a quantile is sure to about 4 % of the interval's width.
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.08 * (high - low))


def test_intervals_have_their_coverage_where_few_rows_differ() -> None:
    """A is always right and B in 97 of 100; plain percentiles cover the difference in 83 of 100 samples."""
    rng, covered = np.random.default_rng(0), np.zeros(2)
    for _ in range(200):
        labels = rng.choice(3, size=69, p=[0.43, 0.2, 0.37])
        b = np.where(rng.random(69) < 0.03, (labels + rng.integers(1, 3, size=69)) % 3, labels)
        found = compare_predictions(labels, labels, b, n_resamples=400)
        # Of the macro-F1: computed from the probabilities of each cell.
        truths = ((found.accuracy, -0.03), (found.macro_f1, -0.0324))
        covered += [interval.low <= truth <= interval.high for interval, truth in truths]
    assert (covered >= 0.95 * 200).all()


def test_mcnemar_is_the_binomial_test() -> None:
    assert mcnemar(0, 0) == 1
    for a, b in ((0, 1), (3, 3), (2, 9), (7, 17), (1000, 1100)):
        assert mcnemar(a, b) == pytest.approx(stats.binomtest(a, a + b).pvalue)


@pytest.mark.parametrize("seed", range(5))
def test_swapped_models_have_negated_differences(seed: int) -> None:
    labels, a, b = draw(200, right_a=0.5, right_b=0.8, seed=seed)
    forth, back = compare_predictions(labels, a, b), compare_predictions(labels, b, a)
    for one, other in ((forth.accuracy, back.accuracy), (forth.macro_f1, back.macro_f1)):
        assert (one.difference, one.low, one.high) == (-other.difference, -other.high, -other.low)
    swapped = (back.n_only_b, back.n_only_a, back.mcnemar_p)
    assert (forth.n_only_a, forth.n_only_b, forth.mcnemar_p) == swapped
    assert forth.verdict().startswith("B is better than A; B - A: accuracy +0.")
    assert back.verdict().startswith("A is better than B; B - A: accuracy -0.")


def test_verdict_names_the_score_in_which_a_model_is_better() -> None:
    for n_rows, wrong_a, wrong_b, answer in (
        # Of plain resamples only two in a hundred would have none of the four; McNemar's p is 0.125.
        ((30, 14, 25), [0, 20, 35, 60], [], "A and B are not distinguishable; B - A: accuracy +0.0"),
        ((30, 14, 25), [], [], "A and B are not distinguishable; B - A: accuracy +0.0"),
        # B wins some rows of the large class and loses more of the share of the small one.
        ((1000, 100), range(200), range(1010, 1100), "B is better in accuracy and A in macro-F1; "),
        (
            (1000, 100),
            range(90),
            range(1000, 1090),
            "A and B are not distinguishable in accuracy, A is better",
        ),
    ):
        labels = np.repeat(np.arange(len(n_rows)), n_rows)
        a, b = labels.copy(), labels.copy()
        for predicted, wrong in ((a, [*wrong_a]), (b, [*wrong_b])):
            predicted[wrong] = (labels[wrong] + 1) % len(n_rows)
        found = compare_predictions(labels, a, b)
        assert found.verdict().startswith(answer)
        assert found.accuracy.difference == pytest.approx((len(wrong_a) - len(wrong_b)) / len(labels))

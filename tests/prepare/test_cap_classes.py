import numpy as np
import pytest

from canopy.prepare.cap_classes import cap_classes


def test_the_subjects_example() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [301, 183, 730]))
    kept = cap_classes(labels, max_per_class=200, seed=0)
    assert np.bincount(labels[kept]).tolist() == [200, 183, 200]
    assert (np.diff(kept) > 0).all()


def test_a_class_below_the_cap_keeps_its_very_rows() -> None:
    labels = np.array([0, 1, 0, 0, 1])
    kept = cap_classes(labels, max_per_class=2, seed=0)
    assert set(kept) >= {1, 4}
    assert len(kept) == 4


def test_the_draw_is_uniform_over_the_class() -> None:
    labels = np.zeros(10, dtype=np.int64)
    draws = [cap_classes(labels, max_per_class=5, seed=seed) for seed in range(400)]
    counts = np.bincount(np.concatenate(draws), minlength=10)
    # Each row is kept in half of the draws; four standard deviations of a binomial are 40.
    assert np.abs(counts - 200).max() < 40


def test_the_seed_decides() -> None:
    labels = np.zeros(100, dtype=np.int64)
    first, again, other = (cap_classes(labels, max_per_class=50, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


def test_without_a_cap_every_row_stays() -> None:
    assert cap_classes(np.array([3, 1, 3]), max_per_class=None, seed=0).tolist() == [0, 1, 2]


@pytest.mark.parametrize("cap", [0, -5])
def test_a_cap_below_1_is_refused(cap: int) -> None:
    with pytest.raises(ValueError, match=f"max_per_class must be at least 1; found {cap}"):
        cap_classes(np.zeros(3, dtype=np.int64), max_per_class=cap, seed=0)

import numpy as np
import pytest

from canopy.prepare.cap_classes import cap_classes


def test_cap_classes_limits_only_larger_classes() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [301, 183, 730]))
    kept = cap_classes(labels, max_per_class=200, seed=0)
    assert np.bincount(labels[kept]).tolist() == [200, 183, 200]
    assert kept[labels == 1].all()
    assert cap_classes(labels, max_per_class=None, seed=0).all()
    with pytest.raises(ValueError, match="max_per_class must be at least 1; found 0"):
        cap_classes(labels, max_per_class=0, seed=0)


def test_cap_classes_draws_uniformly_by_the_seed() -> None:
    labels = np.zeros(10, dtype=np.int64)
    draws = [cap_classes(labels, max_per_class=5, seed=seed) for seed in range(400)]
    counts = np.sum(draws, axis=0)
    # Each row is kept in half of the draws; four standard deviations of a binomial are 40.
    assert np.abs(counts - 200).max() < 40
    np.testing.assert_array_equal(draws[1], cap_classes(labels, max_per_class=5, seed=1))

"""The rows of each split: by groups, times and hashes, and in folds."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, TimeSeriesSplit

from canopy.params_sections import Split
from canopy.prepare import split
from canopy.prepare.split_by_column import (
    NONE,
    TEST,
    TRAIN,
    VAL,
    assign_groups,
    split_by_group,
    split_by_hash,
    split_by_time,
)


def random_groups(seed: int) -> tuple[NDArray[np.uint64], NDArray[np.int64], int]:
    """Groups of very different sizes, some of one class alone, some large."""
    random = np.random.default_rng(seed)
    n_groups = int(random.integers(8, 60))
    groups = np.repeat(np.arange(n_groups), 1 + random.pareto(1.5, n_groups).clip(0, 60).astype(int) * 3)
    favourites = random.integers(3, size=n_groups)
    labels = np.where(
        random.random(len(groups)) < 0.5, favourites[groups], random.integers(3, size=len(groups))
    )
    return random.permutation(2**40 + np.arange(n_groups)).astype(np.uint64)[groups], labels, n_groups


def parts_of(groups: NDArray[Any], parts: NDArray[Any]) -> int:
    """Most parts that the rows of one group are in."""
    return int(pd.Series(parts).groupby(groups).nunique().max())


@pytest.mark.parametrize("seed", range(20))
def test_group_is_in_one_split_and_shares_are_near(seed: int) -> None:
    groups, labels, _ = random_groups(seed)
    codes = split_by_group(groups, labels, Split(test_size=0.2, val_size=0.25))
    assert parts_of(groups, codes) == 1
    one_class = assign_groups(groups, np.zeros_like(labels), [0.6, 0.2, 0.2])
    largest = np.unique(groups, return_counts=True)[1].max() / len(groups)
    for part, share in enumerate([0.6, 0.2, 0.2]):
        assert (codes == part).any()
        assert abs(np.mean(one_class == part) - share) <= largest
    order = np.random.default_rng(seed).permutation(len(groups))
    np.testing.assert_array_equal(
        split_by_group(groups[order], labels[order], Split(test_size=0.2, val_size=0.25)), codes[order]
    )


def test_group_folds_are_as_stratified_as_those_of_scikit_learn() -> None:
    def deviation(parts: NDArray[Any], labels: NDArray[Any]) -> float:
        shares = pd.crosstab(parts, labels, normalize="columns").to_numpy()
        return float((shares - 0.25).std() + np.abs(np.bincount(parts) / len(parts) - 0.25).std())

    ours, theirs = [], []
    for seed in range(30):
        groups, labels, _ = random_groups(seed)
        parts = assign_groups(groups, labels, [0.25] * 4)
        other = np.zeros_like(parts)
        folds = StratifiedGroupKFold(4, shuffle=True, random_state=seed).split(labels, labels, groups)
        for fold, (_, rows) in enumerate(folds):
            other[rows] = fold
        ours.append(deviation(parts, labels))
        theirs.append(deviation(other, labels))
    assert np.mean(ours) < np.mean(theirs)


@pytest.mark.parametrize(("n_groups", "n_rows", "n_classes"), [(20_000, 3, 26), (20_000, 1, 3), (5000, 4, 3)])
def test_many_small_groups_give_the_shares_of_rows_and_classes(
    n_groups: int, n_rows: int, n_classes: int
) -> None:
    groups = np.repeat(np.random.default_rng(0).integers(2**63, size=n_groups, dtype=np.uint64), n_rows)
    labels, shares = np.random.default_rng(1).integers(n_classes, size=len(groups)), [0.64, 0.16, 0.2]
    parts = assign_groups(groups, labels, shares)
    for chosen in (labels >= 0, *(labels == value for value in range(n_classes))):
        np.testing.assert_allclose(np.bincount(parts[chosen]) / chosen.sum(), shares, atol=0.005)


def test_each_split_needs_a_group() -> None:
    groups, labels = np.repeat(np.array([1, 2, 3], np.uint64), [90, 5, 5]), np.arange(100) % 2
    assert {*split_by_group(groups, labels, Split(test_size=0.2, val_size=0.2)).tolist()} == {
        TRAIN,
        VAL,
        TEST,
    }
    with pytest.raises(ValueError, match="must have at least 3 groups of rows; got 2"):
        split_by_group(groups % np.uint64(2), labels, Split(test_size=0.2, val_size=0.2))


@pytest.mark.parametrize("seed", range(10))
def test_time_split_is_in_order_with_its_gap(seed: int) -> None:
    random = np.random.default_rng(seed)
    times = random.integers(200, size=2000)
    codes = split_by_time(times, Split(test_size=0.2, val_size=0.25), gap=7)
    first = {code: times[codes == code].min() for code in (TRAIN, VAL, TEST)}
    last = {code: times[codes == code].max() for code in (TRAIN, VAL, TEST)}
    assert last[TRAIN] <= first[VAL] - 7
    assert last[VAL] <= first[TEST] - 7
    unused = times[codes == NONE]
    assert all(first[VAL] - 7 < t < first[VAL] or first[TEST] - 7 < t < first[TEST] for t in unused)
    largest = np.bincount(times).max()
    without = split_by_time(times, Split(test_size=0.2, val_size=0.25))
    np.testing.assert_allclose(np.bincount(without), [1200, 400, 400], atol=largest)
    # Rows of the other splits stay where they are.
    assert (codes[codes != NONE] == without[codes != NONE]).all()


def test_time_folds_are_those_of_scikit_learn() -> None:
    times = np.random.default_rng(0).permutation(103)
    for fold, (trained, tested) in enumerate(TimeSeriesSplit(4).split(times)):
        codes = split_by_time(times, Split(test_size=0.2, val_size=0.25, n_folds=4, fold=fold))
        assert sorted(times[codes == TEST]) == tested.tolist()
        assert sorted(times[(codes == TRAIN) | (codes == VAL)]) == trained.tolist()
        assert times[codes == TRAIN].max() < times[codes == VAL].min()
    with pytest.raises(ValueError, match="enough different times .*; got 3 in 103 rows"):
        split_by_time(times % 3, Split(test_size=0.2, val_size=0.25, n_folds=4, fold=1))


def test_hash_split_has_the_shares_and_moves_no_row() -> None:
    hashes = np.random.default_rng(0).integers(2**64, size=100_000, dtype=np.uint64)
    shares = np.bincount(split_by_hash(hashes, Split(test_size=0.2, val_size=0.25))) / len(hashes)
    np.testing.assert_allclose(shares, [0.6, 0.2, 0.2], atol=0.01)
    codes = split_by_hash(hashes, Split(test_size=0.2, val_size=0.25, n_folds=7, fold=3))
    np.testing.assert_array_equal(
        split_by_hash(hashes[:99], Split(test_size=0.2, val_size=0.25, n_folds=7, fold=3)), codes[:99]
    )
    np.testing.assert_allclose(
        np.bincount(codes) / len(hashes), [0.75 * 6 / 7, 0.25 * 6 / 7, 1 / 7], atol=0.01
    )


@pytest.mark.parametrize("seed", range(5))
def test_stratified_folds_equal_those_of_scikit_learn(seed: int) -> None:
    labels = np.random.default_rng(seed).choice(4, size=211, p=[0.6, 0.3, 0.05, 0.05])
    folds = split.stratified_folds(labels, n_folds=5, seed=seed)
    expected = StratifiedKFold(5, shuffle=True, random_state=seed).split(labels, labels)
    for fold, (_, rows) in enumerate(expected):
        np.testing.assert_array_equal(np.flatnonzero(folds == fold), rows)

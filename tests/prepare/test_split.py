"""Which rows train, validate and test, and which training rows are cut."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf
from sklearn.model_selection import train_test_split

from canopy.prepare import drop_columns, split
from canopy.prepare.cap_classes import cap_classes
from canopy.prepare.interim import SPLIT_COLUMN, read_codes
from canopy.prepare.split import TEST, TRAIN, VAL, split_in_order, split_rows


def test_split_rows_gives_the_counts_of_the_published_protocol() -> None:
    # Rows of each class of the whole table, by its data sheet; test rows by the published protocol.
    labels = np.repeat(np.arange(7), [211840, 283301, 35754, 2747, 9493, 17367, 20510])
    labels = np.random.default_rng(1).permutation(labels)
    codes = split_rows(labels, test_size=0.2, val_size=0.2, seed=42)
    assert np.bincount(codes).tolist() == [371847, 92962, 116203]
    assert np.bincount(labels[codes == TEST]).tolist() == [42368, 56661, 7151, 549, 1899, 3473, 4102]


@pytest.mark.parametrize("seed", range(5))
def test_stratified_draw_equals_that_of_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.choice(5, size=997, p=[0.5, 0.3, 0.1, 0.05, 0.05])
    rows = np.sort(random.choice(997, size=800, replace=False))
    expected = train_test_split(rows, test_size=0.2, stratify=labels[rows], random_state=seed)
    for found, other in zip(split.stratified_draw(rows, labels, size=0.2, seed=seed), expected, strict=True):
        np.testing.assert_array_equal(found, other)


@pytest.mark.parametrize(("n_rows", "size"), [(24, 0.2), (30, 0.15), (30, 0.5), (1000, 0.2), (1000, 0.85)])
def test_class_of_three_rows_is_in_each_split(n_rows: int, size: float) -> None:
    labels = np.repeat(range(3), [n_rows - 6, 3, 3])
    for seed in range(5):
        codes = split_rows(labels, test_size=size, val_size=size, seed=seed)
        n_test = math.ceil(size * n_rows)
        assert (codes == TEST).sum() == n_test
        assert (codes == VAL).sum() == math.ceil(size * (n_rows - n_test))
        assert [sorted(codes[labels == value]) for value in (1, 2)] == [[TRAIN, VAL, TEST]] * 2


def test_split_in_order_gives_the_first_protocol() -> None:
    codes = split_in_order(581_012, test_size=565_892, val_size=3_780)
    assert np.bincount(codes).tolist() == [11_340, 3_780, 565_892]
    assert (np.diff(codes) >= 0).all()
    for test, val in ((0.2, 3), (3, 1.5), (8, 2), (3, 0)):
        with pytest.raises(ValueError, match=f"each a number of rows .*; got {test} and {val} of 10 rows"):
            split_in_order(10, test_size=test, val_size=val)


@pytest.fixture
def blue_plums(small_params: DictConfig) -> DictConfig:
    """A table of which plums alone are blue, and the colour is no feature; the blue rows are left out."""
    rows = [(i, i, *((1, 0) if i % 2 else (0, 1)), 0, 1 + i % 2) for i in range(20)]
    rows += [(i, i, 0, 0, 1, 3) for i in range(5)]
    header = "weight,size,colour1,colour2,colour3,kind"
    lines = [",".join(map(str, row)) for row in rows]
    Path(small_params.paths.raw).write_text("\n".join([header, *lines]) + "\n")
    small_params.drop_columns.columns = ["colour*"]
    small_params.split.method = "leave_group_out"
    small_params.split.column = "colour3"
    return small_params


def are_tested(params: DictConfig) -> list[bool]:
    drop_columns.run(params)
    split.run(params)
    [(codes, names)] = read_codes(Path(params.paths.interim) / "split.csv", SPLIT_COLUMN)
    return [names[code] == "test" for code in codes]


def test_dropped_column_can_be_left_out(blue_plums: DictConfig, caplog: pytest.LogCaptureFixture) -> None:
    assert are_tested(blue_plums) == [False] * 20 + [True] * 5
    assert "Plum has no row in train and val" in caplog.text
    for key, value, message in (
        ("column", "color3", r"must be one of table.columns .*; got 'color3' \(did you mean 'colour3'"),
        *(("val_size", size, f"must be between 0 and 1; got {size}") for size in (0, 1, -0.1, 1.5)),
    ):
        blue_plums.split[key] = value
        with pytest.raises(ValueError, match=f"split.{key} {message}"):
            split.run(blue_plums)


@pytest.mark.parametrize(
    ("policy", "row", "tested"),
    [
        ({"target": {"missing": "drop"}}, "7,7,0,0,1,", [False] * 20 + [True] * 5),
        ({"target": {"rare": "drop", "classes": "auto"}}, "7,7,0,0,1,9", [False] * 20 + [True] * 5),
        ({"duplicates": "drop"}, "4,4,0,0,1,3", [True] + [False] * 20 + [True] * 4),
    ],
    ids=["unlabelled", "rare", "repeated"],
)
def test_left_out_rows_are_those_that_policies_keep(
    blue_plums: DictConfig, policy: dict[str, Any], row: str, tested: list[bool]
) -> None:
    blue_plums.table = OmegaConf.merge(blue_plums.table, policy)
    raw = Path(blue_plums.paths.raw)
    raw.write_text(raw.read_text().replace("\n", f"\n{row}\n", 1))
    assert are_tested(blue_plums) == tested


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([10, 10], r"must have rows; got none of 3 \(Plum\): take it out"),
        ([50, 50, 2], "a row in every split; got none of class Plum in val: add some or"),
        ([1, 1, 1], "at least one row of each of 3 classes; got 2 and 1 rows: change split.test_size"),
    ],
)
def test_each_class_needs_rows_in_each_split(
    counts: list[int], message: str, small_params: DictConfig
) -> None:
    interim = Path(small_params.paths.interim)
    interim.mkdir()
    kinds = np.repeat(np.arange(len(counts)) + 1, counts)
    rows = [f"{i},{i},colour1,{kind}" for i, kind in enumerate(kinds)]
    (interim / "drop_columns.csv").write_text("\n".join(["weight,size,colour,kind", *rows]) + "\n")
    with pytest.raises(ValueError, match=message):
        split.run(small_params)
    assert not (interim / "split.csv").exists()


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

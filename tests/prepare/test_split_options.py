"""The stage `split` by each method, on a table with columns of each kind."""

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from canopy.data.dataset import load_rows
from canopy.files import SPLITS
from canopy.prepare import cap_classes, drop_columns, make_tensors, normalize, split
from canopy.prepare.interim import SPLIT_COLUMN
from canopy.schema.tensors import SCHEMA_FILE, Schema

Draw = Callable[..., NDArray[Any]]


def parts_of(groups: NDArray[Any], parts: NDArray[Any]) -> int:
    """Most parts that the rows of one group are in."""
    return int(pd.Series(parts).groupby(groups).nunique().max())


@pytest.fixture
def table(small_params: DictConfig) -> pd.DataFrame:
    """A table with columns of each kind to split by, none of which is a feature but for `size` and colour."""
    random, n = np.random.default_rng(0), 240
    colours = np.eye(3, dtype=int)[np.arange(n) % 3]
    days = pd.date_range("2024-01-01", periods=60).repeat(4)
    found = {
        "weight": random.normal(size=n),
        "size": random.integers(1, 9, n) * 0.5,
        **{f"colour{index + 1}": colours[:, index] for index in range(3)},
        "kind": random.integers(1, 4, n),
        "owner": random.integers(40, size=n),
        "row": np.arange(n),
        "day": random.permutation(days.strftime("%Y-%m-%d")),
        "case": random.choice(["Train", "TEST"], n),
        "site": random.choice([*"abcd"], n),
    }
    kinds = {"owner": "ignored", "day": "datetime", **dict.fromkeys(["row", "case", "site"], "key")}
    for name, kind in kinds.items():
        small_params.table.columns[name] = {"kind": kind}
    small_params.drop_columns.columns = ["day"]
    return pd.DataFrame(found)


@pytest.fixture
def draw(small_params: DictConfig, table: pd.DataFrame) -> Draw:
    """Give the split of each row of the table, or of another one, by these options."""

    def run(frame: pd.DataFrame = table, **options: Any) -> NDArray[Any]:
        frame.to_csv(small_params.paths.raw, index=False)
        small_params.split = OmegaConf.merge(small_params.split, options)
        drop_columns.run(small_params)
        split.run(small_params)
        return pd.read_csv(Path(small_params.paths.interim) / "split.csv", keep_default_na=False)[
            SPLIT_COLUMN
        ].to_numpy()

    return run


@pytest.mark.parametrize("column", ["owner", "row", "day", "size", "weight", "colour", "site"])
def test_column_of_any_kind_groups(
    column: str, draw: Draw, table: pd.DataFrame, small_params: DictConfig
) -> None:
    values = (
        table[["colour1", "colour2"]].sum(axis=1) + table["colour1"] if column == "colour" else table[column]
    )
    found = draw(method="group", column=column)
    assert parts_of(values, found) == 1
    assert {*found} == {*SPLITS}
    small_params.seed = 1
    assert (draw() != found).any() or column in ("colour", "size", "site")


def test_hash_split_depends_on_key_and_seed_alone(
    draw: Draw, table: pd.DataFrame, small_params: DictConfig
) -> None:
    small_params.table.columns.pop("case")
    small_params.table.columns.pop("site")
    found = draw(method="hash")
    # Another version of a package moves none either.
    assert "".join(name[1] for name in found[:40]) == "rrrrrrrraaraerrrreererrererrrreaarearrre"
    later = draw(table.sample(frac=0.7, random_state=0))
    assert (later == found[table.sample(frac=0.7, random_state=0)["row"]]).all()
    assert (draw(column="row") == found).all()
    small_params.table.columns.row.kind = "ignored"
    with pytest.raises(
        ValueError, match="table.columns where no column is of kind key, with split.method=hash"
    ):
        draw(column=None)
    small_params.split.column = "row"
    small_params.seed = 1
    assert (draw() != found).any()


def test_predefined_split_reads_names_or_values(draw: Draw, table: pd.DataFrame) -> None:
    found = draw(method="predefined", column="case")
    assert ((found == "test") == (table["case"] == "TEST")).all()
    assert (found == "val").sum() == np.ceil(0.2 * (table["case"] == "Train").sum())
    with pytest.raises(
        ValueError, match=r"must say train, val or test in every row; got 'a', 'b', 'c', 'd'\n"
    ):
        draw(column="site")
    found = draw(values={"train": ["a", "b"], "val": ["c"], "test": ["d"]})
    assert (found == table["site"].map({"a": "train", "b": "train", "c": "val", "d": "test"})).all()
    with pytest.raises(ValueError, match="leave rows to train and rows to test; got 'a', 'b', 'c', 'd'"):
        draw(values={"train": [*"abcd"], "val": [], "test": None})


def test_leave_group_out_takes_values_of_any_column(draw: Draw, table: pd.DataFrame) -> None:
    found = draw(method="leave_group_out", column="site", values={"test": ["b"]})
    assert ((found == "test") == (table["site"] == "b")).all()
    with pytest.raises(
        ValueError, match=r"must be {test: \[...\], none: \[...\]} of 'a', 'b', 'c', 'd'; got {'test': \['e'"
    ):
        draw(values={"test": ["e"]})


@pytest.mark.parametrize("method", ["predefined", "leave_group_out"])
def test_values_of_no_split_are_no_folds(method: str, draw: Draw, table: pd.DataFrame) -> None:
    options = {"method": method, "column": "site", "values": {"none": ["b"]}, "n_folds": 3}
    for fold, tested in enumerate("acd"):
        found = draw(**options, fold=fold)
        assert ((found == "test") == (table["site"] == tested)).all()
        assert ((found == "none") == (table["site"] == "b")).all()
        assert (found == "val").sum() == np.ceil(0.2 * (~table["site"].isin(["b", tested])).sum())
    with pytest.raises(ValueError, match="got 4 for 3: 'a', 'c', 'd'"):
        draw(n_folds=4)
    with pytest.raises(ValueError, match=r"must be {none: \[...\]} of 'a', .*; got {'none': \['b', 'e'\]}"):
        draw(n_folds=3, values={"none": ["b", "e"]})
    with pytest.raises(ValueError, match=r"values must be left out with .*; got {'test': \['a'\]}"):
        draw(values={"test": ["a"], "none": ["b"]})


def test_values_of_no_split_are_in_none(draw: Draw, table: pd.DataFrame) -> None:
    found = draw(method="leave_group_out", column="site", values={"test": ["a"], "none": ["b", "c"]})
    expected = table["site"].map({"a": "test", "b": "none", "c": "none"})
    assert (np.where(found == "val", "train", found) == expected.fillna("train")).all()
    found = draw(method="predefined", values={"train": ["a"], "val": ["c"], "test": ["d"], "none": ["b"]})
    assert (found == table["site"].map({"a": "train", "b": "none", "c": "val", "d": "test"})).all()
    found = draw(table.assign(case=["train", "None", "test", "val"] * 60), values=None, column="case")
    assert (found == ["train", "none", "test", "val"] * 60).all()


def test_dropped_classes_and_values_leave_the_tensors_of_the_others(
    draw: Draw, table: pd.DataFrame, small_params: DictConfig
) -> None:
    small_params.table.target.keep = [3, 1]
    kept = table["kind"] != 2
    found = draw(method="leave_group_out", column="site", values={"none": ["b"]}, n_folds=3, fold=1)
    assert ((found == "test") == (table["site"] == "c")[kept]).all()
    small_params.cap_classes.max_per_class = None
    for stage in (normalize, cap_classes, make_tensors):
        stage.run(small_params)
    schema = Schema.load(Path(small_params.paths.processed) / SCHEMA_FILE)
    assert schema.class_names == ("Apple", "Plum")
    expected = table[kept & (table["site"] == "c")]["kind"].value_counts()
    assert schema.class_counts["test"] == (expected[1], expected[3])
    n_rows = sum(sum(schema.class_counts[name]) for name in SPLITS)
    assert n_rows == (kept & (table["site"] != "b")).sum()


FOLDS = {
    "stratified": {},
    "ordered": {},
    "group": {"column": "owner"},
    "time": {"column": "day"},
    "hash": {"column": "row"},
    "predefined": {"column": "site"},
    "leave_group_out": {"column": "site"},
}


@pytest.mark.parametrize("method", FOLDS)
def test_folds_partition_the_rows(method: str, draw: Draw, table: pd.DataFrame) -> None:
    folds = np.stack([draw(method=method, n_folds=4, fold=fold, **FOLDS[method]) for fold in range(4)])
    n_tests = (folds == "test").sum(axis=0)
    assert all({*SPLITS} <= {*fold} for fold in folds)
    if method in ("ordered", "time"):
        times = table["day"].to_numpy() if method == "time" else np.arange(len(table))
        assert n_tests.max() == 1
        assert times[n_tests == 0].max() < times[n_tests == 1].min()
        for fold in folds:
            ends = [(times[fold == name].min(), times[fold == name].max()) for name in SPLITS]
            assert ends == sorted(ends)
            assert all(before[1] < after[0] for before, after in pairwise(ends))
    else:
        assert (n_tests == 1).all()
        assert "none" not in folds


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "group"}, r"one of table.columns with split.method=group; got None"),
        ({"method": "group", "column": "ownr"}, r"got 'ownr' \(did you mean 'owner'\?\)"),
        (
            {"method": "time", "column": "owner"},
            "one of table.columns of kind datetime or numeric .*; got 'owner'",
        ),
        ({"method": "time", "column": "day", "gap": 7}, "a duration such as 7d; got 7"),
        (
            {"method": "time", "column": "size", "gap": "7d"},
            "must be a number with a numeric split.column.*; got .7d",
        ),
        ({"method": "predefined", "column": "site", "n_folds": 5}, "got 5 for 4: 'a', 'b', 'c', 'd'"),
        (
            {"method": "predefined", "column": "site", "values": {"validation": ["a"]}},
            "train, val, test, none; got valid",
        ),
        ({"n_folds": 1}, "n_folds must be null or >= 2, and split.fold from 0 to n_folds - 1; got 1 and 0"),
        ({"n_folds": 3, "fold": 3}, "got 3 and 3"),
        ({"column": "site"}, "split.column must be left out with split.method=stratified"),
        ({"fold": 2}, "split.fold must be left out with .* split.n_folds=None, which do not use it; got 2"),
        (
            {"method": "ordered", "n_folds": 3, "gap": 10},
            "split.gap must be left out with split.method=ordered",
        ),
        ({"method": "time", "column": "day", "gap": "-3d"}, "a duration such as 7d; got '-3d'"),
        ({"method": "time", "column": "day", "gap": "20d"}, "Each split must have rows; got none in val"),
        (
            {"method": "predefined", "column": "site", "values": {"train": ["a", "b"], "test": ["b", "c"]}},
            "must name each value once; got 'b' twice",
        ),
    ],
)
def test_invalid_options_are_reported(options: dict[str, Any], message: str, draw: Draw) -> None:
    with pytest.raises(ValueError, match=message):
        draw(**options)


@pytest.mark.parametrize("method", ["group", "hash", "time", "predefined"])
def test_missing_value_is_an_error(
    method: str, draw: Draw, table: pd.DataFrame, small_params: DictConfig
) -> None:
    column = {"time": "day", "predefined": "case"}.get(method, "owner")
    small_params.table.columns.day.missing = "median"
    frame = table.astype({column: object})
    frame.loc[[3, 5], column] = None
    message = re.escape(f"split.column ({column}) must have a value in every row; got none in 2 of 240 rows")
    with pytest.raises(ValueError, match=message):
        draw(frame, method=method, column=column)


def test_rows_of_no_split_end_before_the_tensors(draw: Draw, small_params: DictConfig) -> None:
    found = draw(method="time", column="day", gap="3d", n_folds=3, fold=1)
    counts = {name: int((found == name).sum()) for name in [*SPLITS, "none"]}
    assert counts["none"] > 60
    small_params.cap_classes.max_per_class = None
    for stage in (normalize, cap_classes, make_tensors):
        stage.run(small_params)
    schema = Schema.load(Path(small_params.paths.processed) / SCHEMA_FILE)
    for name in SPLITS:
        assert len(load_rows(small_params.paths.processed, name, schema).rows.labels) == counts[name]
        assert sum(schema.class_counts[name]) == counts[name]

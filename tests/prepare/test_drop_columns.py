"""The policies for rows without a label, of rare classes, of repeated rows and of dropped columns."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest
from omegaconf import DictConfig

from canopy.prepare import drop_columns

HEADER = "weight,size,colour1,colour2,colour3,kind"


@pytest.fixture
def params(small_params: DictConfig) -> DictConfig:
    """Parameters of a table whose classes are those of its rows."""
    small_params.table.target.classes = "auto"
    return small_params


def run(params: DictConfig, *rows: str) -> dict[str, list[Any]]:
    """Write a raw table of these rows; gives what the stage makes of it."""
    Path(params.paths.raw).write_text("\n".join([HEADER, *rows]) + "\n")
    drop_columns.run(params)
    table = pa.csv.read_csv(Path(params.paths.interim) / "drop_columns.csv")
    found: dict[str, list[Any]] = table.to_pydict()
    return found


def rows_of(**counts: int) -> list[str]:
    """Make so many different rows of each class."""
    return [f"{i},{i},1,0,0,{kind}" for kind, count in counts.items() for i in range(count)]


def test_a_category_is_one_column(params: DictConfig) -> None:
    found = run(params, *rows_of(a=3), "9,9,0,0,1,b", "8,8,0,1,0,b", "7,7,0,1,0,b")
    assert [*found] == ["weight", "size", "colour", "kind"]
    assert found["colour"] == ["colour1"] * 3 + ["colour3", "colour2", "colour2"]


def test_a_dropped_0_1_column_is_other(params: DictConfig) -> None:
    params.drop_columns.columns = ["colour2", "size"]
    found = run(params, *rows_of(a=3), "9,9,0,0,1,b", "8,8,0,1,0,b", "7,7,0,1,0,b")
    assert [*found] == ["weight", "colour", "kind"]
    assert found["colour"] == ["colour1"] * 3 + ["colour3", "other", "other"]


def test_a_category_of_which_every_column_is_dropped_is_dropped(params: DictConfig) -> None:
    params.drop_columns.columns = ["colour[123]"]
    assert [*run(params, *rows_of(a=3, b=3))] == ["weight", "size", "kind"]


def test_rows_without_a_label_are_refused_by_their_line(params: DictConfig) -> None:
    with pytest.raises(ValueError, match="'kind' must have a value in every row; got none in line 5"):
        run(params, *rows_of(a=3), "9,9,1,0,0,", *rows_of(b=3))
    assert not (Path(params.paths.interim) / "drop_columns.csv").exists()


def test_rows_without_a_label_can_be_dropped(params: DictConfig, caplog: pytest.LogCaptureFixture) -> None:
    params.table.target.missing = "drop"
    found = run(params, *rows_of(a=3), "9,9,1,0,0,", "8,8,1,0,0,NA", *rows_of(b=3))
    assert found["kind"] == ["a"] * 3 + ["b"] * 3
    assert "Dropped 2 of 8 rows without a label" in caplog.text


@pytest.mark.parametrize("missing", ["reject", "drop"])
def test_a_table_without_any_label_is_refused(params: DictConfig, missing: str) -> None:
    params.table.target.missing = missing
    with pytest.raises(
        ValueError, match="'kind' must have (a value in every row|at least two classes; got none)"
    ):
        run(params, "1,1,1,0,0,", "2,2,1,0,0,")


@pytest.mark.parametrize("classes", ["auto", {"a": "A", "b": "B", "c": "C"}])
def test_rare_classes_are_refused_with_their_counts(params: DictConfig, classes: Any) -> None:
    params.table.target.classes = classes
    message = r"'kind' must have at least 3 rows; got 'b' \(2\), 'c' \(1\)\nSet table.target.rare to drop"
    with pytest.raises(ValueError, match=message):
        run(params, *rows_of(a=5, b=2, c=1))
    assert not (Path(params.paths.interim) / "drop_columns.csv").exists()
    params.table.target.min_count = 1
    assert len(run(params, *rows_of(a=5, b=2, c=1))["kind"]) == 8


@pytest.mark.parametrize(("rare", "expected"), [("drop", []), ("merge", ["other"] * 3)])
def test_rare_classes_are_dropped_or_merged(
    params: DictConfig, caplog: pytest.LogCaptureFixture, rare: str, expected: list[str]
) -> None:
    params.table.target.rare = rare
    found = run(params, *rows_of(a=5, b=2, c=1, d=3))
    assert found["kind"] == ["a"] * 5 + expected + ["d"] * 3
    assert f"Classes with fewer than 3 rows: {rare}: 'b' (2), 'c' (1)" in caplog.text


def test_the_merged_class_has_the_name_that_is_given(params: DictConfig) -> None:
    params.table.target |= {"rare": "merge", "merged_name": "few", "min_count": 4}
    assert run(params, *rows_of(a=5, b=3, c=1))["kind"] == ["a"] * 5 + ["few"] * 4


def test_what_is_left_must_have_two_classes(params: DictConfig) -> None:
    params.table.target.rare = "drop"
    with pytest.raises(ValueError, match="'kind' must have at least two classes; got 'a'"):
        run(params, *rows_of(a=5, b=2))


REPEATED = ["1,2,1,0,0,a", "1.0,2,1,0,0,a", "1,2,0,1,0,a", "1,2,1,0,0,b"]


def test_repeated_rows_are_kept(params: DictConfig) -> None:
    """The exploration counts them."""
    assert len(run(params, *REPEATED, *rows_of(a=3, b=3), REPEATED[2])["kind"]) == 11


def test_repeated_rows_can_be_dropped(params: DictConfig, caplog: pytest.LogCaptureFixture) -> None:
    """Equal are rows that are so once checked; dropped columns count, keys do not."""
    params.table.duplicates = "drop"
    params.drop_columns.columns = ["size"]
    found = run(params, *REPEATED, *rows_of(a=3, b=3), REPEATED[2])
    assert found["weight"][:3] == [1, 1, 1]
    assert found["kind"] == ["a", "a", "b", *["a"] * 3, *["b"] * 3]
    assert "Dropped 2 of 11 rows that repeat an earlier one" in caplog.text
    params.table.columns["size"] = {"kind": "key"}
    params.drop_columns.columns = []
    assert len(run(params, *rows_of(a=4, b=3), "1,7,1,0,0,a")["kind"]) == 7


def test_keys_are_no_features(params: DictConfig) -> None:
    params.table.columns["size"] = {"kind": "key"}
    assert [*run(params, *rows_of(a=3, b=3))] == ["weight", "colour", "kind"]

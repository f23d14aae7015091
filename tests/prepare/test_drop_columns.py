"""The policies for rows without a label, of rare classes, of repeated rows and of dropped columns."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest
from omegaconf import DictConfig

from canopy.prepare import drop_columns

HEADER = "weight,size,colour1,colour2,colour3,kind"
COLOURS = ["9,9,0,0,1,b", "8,8,0,1,0,b", "7,7,0,1,0,b"]
REPEATED = ["1,2,1,0,0,a", "1.0,2,1,0,0,a", "1,2,0,1,0,a", "1,2,1,0,0,b"]


@pytest.fixture
def params(small_params: DictConfig) -> DictConfig:
    """Parameters of a table whose classes are those of its rows."""
    small_params.table.target.classes = "auto"
    return small_params


def run(params: DictConfig, *rows: str, **target: Any) -> dict[str, list[Any]]:
    """Write a raw table of these rows; gives what the stage makes of it, by these policies of the target."""
    params.table.target |= target
    Path(params.paths.raw).write_text("\n".join([HEADER, *rows]) + "\n")
    drop_columns.run(params)
    return pa.csv.read_csv(Path(params.paths.interim) / "drop_columns.csv").to_pydict()


def rows_of(**counts: int) -> list[str]:
    """Make so many different rows of each class."""
    return [f"{i},{i},1,0,0,{kind}" for kind, count in counts.items() for i in range(count)]


@pytest.mark.parametrize(
    ("dropped", "kind_of_size", "names", "colours"),
    [
        (["colour2", "size"], "numeric", ["weight", "colour", "kind"], ["colour3", "other", "other"]),
        (["colour[123]"], "numeric", ["weight", "size", "kind"], None),
        ([], "key", ["weight", "colour", "kind"], ["colour3", "colour2", "colour2"]),
    ],
    ids=["0/1 column dropped", "whole category dropped", "key"],
)
def test_drop_columns_keeps_features_and_decodes_categories(
    params: DictConfig, dropped: list[str], kind_of_size: str, names: list[str], colours: list[str] | None
) -> None:
    params.table.columns["size"] = {"kind": kind_of_size}
    params.drop_columns.columns = dropped
    found = run(params, *rows_of(a=3), *COLOURS)
    assert [*found] == names
    assert colours is None or found["colour"] == ["colour1"] * 3 + colours


def test_rows_without_a_label_are_refused_or_dropped(
    params: DictConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match="'kind' must have a value in every row; got none in line 5"):
        run(params, *rows_of(a=3), "9,9,1,0,0,", *rows_of(b=3))
    assert not (Path(params.paths.interim) / "drop_columns.csv").exists()
    found = run(params, *rows_of(a=3), "9,9,1,0,0,", "8,8,1,0,0,NA", *rows_of(b=3), missing="drop")
    assert found["kind"] == ["a"] * 3 + ["b"] * 3
    assert "Dropped 2 of 8 rows without a label" in caplog.text


def test_rare_classes_are_refused_dropped_or_merged_and_two_must_stay(
    params: DictConfig, caplog: pytest.LogCaptureFixture
) -> None:
    rows = rows_of(a=5, b=2, c=1, d=3)
    message = r"'kind' must have at least 3 rows; got 'b' \(2\), 'c' \(1\)\nSet table.target.rare to drop"
    with pytest.raises(ValueError, match=message):
        run(params, *rows)
    assert not (Path(params.paths.interim) / "drop_columns.csv").exists()
    assert run(params, *rows, rare="drop")["kind"] == ["a"] * 5 + ["d"] * 3
    assert "Classes with fewer than 3 rows: drop: 'b' (2), 'c' (1)" in caplog.text
    assert run(params, *rows, rare="merge", merged_name="few")["kind"] == ["a"] * 5 + ["few"] * 3 + ["d"] * 3
    with pytest.raises(ValueError, match="'kind' must have at least two classes; got 'a'"):
        run(params, *rows_of(a=5, b=2), rare="drop")
    assert len(run(params, *rows, min_count=1)["kind"]) == 11
    with pytest.raises(ValueError, match="'kind' must have at least two classes; got none"):
        run(params, "1,1,1,0,0,", "2,2,1,0,0,", missing="drop")


@pytest.mark.parametrize("classes", ["auto", {"a": "A", "b": "B", "c": "C", "d": "D"}])
def test_rows_of_classes_that_are_not_kept_are_dropped(
    classes: Any, params: DictConfig, caplog: pytest.LogCaptureFixture
) -> None:
    rows = rows_of(a=5, b=2, c=4, d=1)
    options = {"classes": classes, "keep": ["c", "a", "b"], "rare": "merge", "merged_name": "few"}
    assert run(params, *rows, **options)["kind"] == ["a"] * 5 + ["few"] * 2 + ["c"] * 4
    assert "Dropped 1 of 12 rows without a label of table.target.keep" in caplog.text
    with pytest.raises(ValueError, match="'kind' must have a value in every row; got none in line 14"):
        run(params, *rows, "9,9,1,0,0,")
    with pytest.raises(ValueError, match="at least two classes; got 'a'"):
        run(params, *rows, keep=["a"])
    if classes != "auto":
        with pytest.raises(ValueError, match="must be one of 'a', 'b', 'c', 'd'; got 'e' in line 14"):
            run(params, *rows, "9,9,1,0,0,e")


def test_repeated_rows_are_kept_or_dropped(params: DictConfig, caplog: pytest.LogCaptureFixture) -> None:
    """Equal are rows that are so once checked; dropped columns count, keys do not."""
    rows = [*REPEATED, *rows_of(a=3, b=3), REPEATED[2]]
    assert len(run(params, *rows)["kind"]) == 11
    params.table.duplicates = "drop"
    params.drop_columns.columns = ["size"]
    found = run(params, *rows)
    assert found["weight"][:3] == [1, 1, 1]
    assert found["kind"] == ["a", "a", "b", *["a"] * 3, *["b"] * 3]
    assert "Dropped 2 of 11 rows that repeat an earlier one" in caplog.text
    params.table.columns["size"] = {"kind": "key"}
    params.drop_columns.columns = []
    assert len(run(params, *rows_of(a=4, b=3), "1,7,1,0,0,a")["kind"]) == 7

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from canopy.table import csv
from canopy.table.csv import read_table, write_table
from canopy.table.draft import describe
from canopy.table.spec import TableSpec

HEADER = "weight,size,colour1,colour2,colour3,kind\n"
ROW = "1.5,2,1,0,0,1\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_columns_are_read_by_name(tmp_path: Path, small_spec: TableSpec) -> None:
    path = write(tmp_path / "a.csv", "kind,colour3,colour1,colour2,size,weight\n2,0,0,1,7,-0.5\n")
    table = read_table(path, small_spec)
    assert table.column_names == small_spec.columns
    assert table.to_pylist() == [
        {"weight": -0.5, "size": 7, "colour1": 0, "colour2": 1, "colour3": 0, "kind": 2}
    ]


def test_what_is_written_is_read_again(
    tmp_path: Path, small_spec: TableSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv, "ROWS_PER_CHUNK", 3)
    n_rows = 10
    table = pa.table(
        {
            "weight": np.linspace(-1, 1, n_rows, dtype=np.float32),
            "size": np.arange(n_rows),
            "colour1": np.arange(n_rows) % 2,
            "colour2": 1 - np.arange(n_rows) % 2,
            "colour3": np.zeros(n_rows, dtype=np.int64),
            "kind": np.ones(n_rows, dtype=np.int64),
            "split": ["train", "val"] * 5,
        }
    )
    write_table(table, tmp_path / "a.csv", description="test")
    back = read_table(tmp_path / "a.csv", small_spec, with_split=True)
    assert back["size"].to_pylist() == list(range(n_rows))
    assert back["split"].to_pylist() == ["train", "val"] * 5
    np.testing.assert_array_equal(back["weight"].to_numpy().astype(np.float32), table["weight"].to_numpy())
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold a header and rows; found an empty file"),
        (HEADER, "must hold rows below its header; found none"),
        (HEADER.replace("weight", "wieght") + ROW, r"column 'weight'; found .* mean 'wieght'"),
        (HEADER.replace("weight,", "") + ROW, "must have the column 'weight'"),
        ("extra," + HEADER + "1," + ROW, "table's columns and no others; found 'extra': leave it out"),
        ("weight," + HEADER + "1," + ROW, "each column once; found 'weight' twice"),
        (HEADER + ROW + "heavy,2,1,0,0,1\n", "'weight' must hold numbers; found 'heavy' in line 3"),
        (HEADER + ROW + ",2,1,0,0,1\n", "'weight' must have a value in every row; found none in line 3"),
        (HEADER + ROW + "NaN,2,1,0,0,1\n", "'weight' must have a value in every row; found none in line 3"),
        (HEADER + ROW + "inf,2,1,0,0,1\n", "'weight' must be finite; found inf in line 3"),
        (HEADER + ",2,1,0,0,1\n", "'weight' must hold numbers; found no value in any row"),
        (HEADER + ROW + "1,2,2,0,0,1\n", "'colour1' must hold 0 or 1; found 2 in line 3"),
        (HEADER + ROW + "1,2,1,1,0,1\n", "exactly one column of 'colour'; found 2 set in line 3"),
        (HEADER + ROW + "1,2,0,0,0,1\n", "exactly one column of 'colour'; found 0 set in line 3"),
        (HEADER + ROW + "1,2,1,0,0,4\n", r"'kind' must be one of \[1, 2, 3\]; found 4 in line 3"),
        (HEADER + ROW + "1,2,1,0,0\n", "well-formed CSV file; found: .*Row #3: Expected 6 columns, got 5"),
        (HEADER.replace(",", ";") + ROW, "separated by commas; got semicolons between 6 names in its header"),
    ],
)
def test_bad_input_is_refused(tmp_path: Path, small_spec: TableSpec, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_table(write(tmp_path / "a.csv", text), small_spec)


def test_a_table_to_describe_has_commas_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER.replace(",", "|") + ROW)
    with pytest.raises(
        ValueError, match="separated by commas; got vertical bars between 6 names in its header"
    ):
        describe(path, target="kind", missing_values=[])


def test_an_unknown_split_is_refused(tmp_path: Path, small_spec: TableSpec) -> None:
    text = HEADER.replace("kind", "kind,split") + "1,2,1,0,0,1,tset\n"
    with pytest.raises(ValueError, match=r"one of \['train', 'val', 'test'\]; found 'tset' in line 2"):
        read_table(write(tmp_path / "a.csv", text), small_spec, with_split=True)


def test_another_encoding_is_refused(tmp_path: Path, small_spec: TableSpec) -> None:
    (tmp_path / "a.csv").write_bytes(HEADER.encode("utf-16"))
    with pytest.raises(ValueError, match="must be a CSV file in UTF-8"):
        read_table(tmp_path / "a.csv", small_spec)


def test_a_missing_file_names_the_way_out(tmp_path: Path, small_spec: TableSpec) -> None:
    with pytest.raises(FileNotFoundError, match='run "make repro"'):
        read_table(tmp_path / "a.csv", small_spec)


def test_an_incomplete_group_may_be_unset_but_not_set_twice(tmp_path: Path, small_spec: TableSpec) -> None:
    spec = small_spec.without(["colour3"])
    header = HEADER.replace("colour3,", "")
    assert read_table(write(tmp_path / "a.csv", header + "1,2,0,0,1\n"), spec).num_rows == 1
    with pytest.raises(ValueError, match="at most one column of 'colour'; found 2 set in line 2"):
        read_table(write(tmp_path / "b.csv", header + "1,2,1,1,1\n"), spec)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.csv", "old")

    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(csv.pa.csv, "write_csv", fail)
    with pytest.raises(OSError, match="No space left"):
        write_table(pa.table({"a": [1]}), path, description="test")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]

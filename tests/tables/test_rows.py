"""Reading and checking tables of all forms, from files as users have them."""

import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from canopy.schema import TableSchema
from canopy.tables.rows import TableReader, read_table
from canopy.tables.writer import open_writer

NUMBER, CATEGORY = {"kind": "numeric"}, {"kind": "categorical"}


def schema(columns: dict[str, Any], *, target: dict[str, Any] | None = None, **file: Any) -> TableSchema:
    return TableSchema.parse({"target": target or {"column": "y"}, "columns": columns, "file": file})


def read(path: Path, content: str | bytes, declared: TableSchema) -> list[dict[str, Any]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return [row for batch in read_table(path, declared) for row in batch.to_pylist()]


@pytest.mark.parametrize(
    ("content", "file", "expected"),
    [
        ("a,y\n1.5,u\n", {}, 1.5),
        ('a,y\n"1.5",u\n', {}, 1.5),
        ("\ufeffa,y\r\n1.5,u\r\n", {}, 1.5),
        ("a,y\n1.5,u", {}, 1.5),
        ("a;y\n1.234,5;u\n", {"delimiter": ";", "decimal": ",", "thousands": "."}, 1234.5),
        ("a;y\n1\u202f234,5;u\n", {"delimiter": ";", "decimal": ",", "thousands": "\u202f"}, 1234.5),
        ("a, y\n  1.5, u \n", {"trim": True}, 1.5),
        ("a\ty\n-0.0\tu\n", {"delimiter": "\t"}, 0.0),
        ("a,y\n\u22121.5,u\n", {}, -1.5),
        ("a,y\n1e-3,u\n", {}, 0.001),
    ],
)
def test_a_number_is_read_in_each_dialect(
    tmp_path: Path, content: str, file: dict[str, Any], expected: float
) -> None:
    assert read(tmp_path / "t.csv", content, schema({"a": NUMBER}, **file)) == [{"a": expected, "y": "u"}]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_quoted_line_breaks_are_kept_and_counted(tmp_path: Path, end: str) -> None:
    rows = "".join(f'{i},"x{end}y",u{end}' for i in range(5)) + f"oops,z,u{end}"
    path = tmp_path / "t.csv"
    path.write_bytes(f"a,b,y{end}{rows}".encode())
    reader = TableReader(path, schema({"a": NUMBER, "b": CATEGORY}), with_target=True)
    found = [row for batch in reader.valid_batches() for row in batch.to_pylist()]
    assert [row["b"] for row in found] == [f"x{end}y"] * 5
    assert [(problem.line, problem.value) for problem in reader.problems.shown] == [(12, "'oops'")]


def test_names_that_differ_only_in_case_and_odd_names_are_kept(tmp_path: Path) -> None:
    names = ["${x}", "a.b", "a b", "Größe", "A", "a", 'qu"ote', "select", "split"]
    expected = {**{name: float(i) for i, name in enumerate(names)}, "y": "u"}
    with open_writer(tmp_path / "t.csv", pa.Table.from_pylist([expected]).schema) as write:
        write(pa.RecordBatch.from_pylist([expected]))
    pq.write_table(pa.Table.from_pylist([expected]), tmp_path / "t.parquet")
    (tmp_path / "t.jsonl").write_text(json.dumps(expected) + "\n")
    for form in ("csv", "jsonl", "parquet"):
        (batch,) = read_table(tmp_path / f"t.{form}", schema(dict.fromkeys(names, NUMBER), format=form))
        assert batch.to_pylist() == [expected]


def test_compressed_files_and_other_encodings_are_read(tmp_path: Path) -> None:
    text = "Straße,y\nÜberweg,u\n"
    for name, encoding in (("gz", "utf-8"), ("zst", "utf-8"), ("csv", "latin-1"), ("csv", "utf-16")):
        path = tmp_path / f"t.{name}"
        with pa.output_stream(path) as stream:
            stream.write(text.encode(encoding))
        (batch,) = read_table(path, schema({"Straße": CATEGORY}, encoding=encoding))
        assert batch.to_pylist() == [{"Straße": "Überweg", "y": "u"}]


def test_several_files_are_one_table(tmp_path: Path) -> None:
    for name, value in (("b", 2), ("a", 1), (".hidden", 3)):
        (tmp_path / f"{name}.csv").write_text(f"a,y\n{value},u\n")
    for pattern in (tmp_path, tmp_path / "*.csv"):
        batches = read_table(pattern, schema({"a": NUMBER}))
        assert [row["a"] for batch in batches for row in batch.to_pylist()] == [1, 2]


def test_null_markers_are_those_of_the_file_or_of_the_column(tmp_path: Path) -> None:
    optional = {**CATEGORY, "missing": "category"}
    declared = schema({"country": {**CATEGORY, "null_values": []}, "kind": optional})
    rows = read(tmp_path / "t.csv", "country,kind,y\nNA,NA,u\n", declared)
    assert rows == [{"country": "NA", "kind": None, "y": "u"}]


def test_null_markers_are_those_of_typed_numbers_too(tmp_path: Path) -> None:
    columns = {"a": [1.0, -999.0, float("inf")], "code": [1, -999, 2], "y": ["u", "v", "u"]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    markers = ["", "-999", "inf"]
    number = {**NUMBER, "null_values": markers, "missing": "median"}
    category = {**CATEGORY, "null_values": markers, "missing": "category"}
    (batch,) = read_table(tmp_path / "t.parquet", schema({"a": number, "code": category}, format="parquet"))
    assert batch.to_pydict() == {"a": [1.0, None, None], "code": ["1", None, "2"], "y": ["u", "v", "u"]}


def test_dates_are_read_in_their_format(tmp_path: Path) -> None:
    formats = {"iso": "iso", "zoned": "iso", "day_first": "%d/%m/%Y", "epoch": "epoch"}
    declared = schema({name: {"kind": "datetime", "format": form} for name, form in formats.items()})
    content = "iso,zoned,day_first,epoch,y\n2024-02-03,2024-02-03T01:00:00+01:00,03/02/2024,1706918400,u\n"
    (row,) = read(tmp_path / "t.csv", content, declared)
    assert {str(row[name]) for name in formats} == {"2024-02-03 00:00:00"}


def test_a_decimal_comma_is_not_taken_for_a_thousands_mark(tmp_path: Path) -> None:
    declared = schema({"a": NUMBER}, delimiter=";", thousands=",")
    with pytest.raises(ValueError, match="'a' must be a number; got '0,123' in line 3"):
        read(tmp_path / "t.csv", "a;y\n1,123;u\n0,123;u\n", declared)


def test_one_hot_columns_become_the_name_of_the_one_that_is_set(tmp_path: Path) -> None:
    declared = schema({"soil": {**CATEGORY, "one_hot": {"s1": "Clay", "s2": "Sand"}}})
    rows = read(tmp_path / "t.csv", "s1,s2,y\n0,1,u\n1.0,0,u\n", declared)
    assert [row["soil"] for row in rows] == ["s2", "s1"]
    for row, message in (
        ("1,1", "'soil' must have exactly one column that is 1; got 2 in line 2"),
        ("0,0", "'soil' must have a value in every row; got none in line 2"),
        ("1,2", "'s2' must be 0 or 1; got '2' in line 2"),
    ):
        with pytest.raises(ValueError, match=message):
            read(tmp_path / "t.csv", f"s1,s2,y\n{row},u\n", declared)


@pytest.mark.parametrize(("policy", "expected"), [("clip", 90.0), ("missing", None)])
def test_numbers_out_of_range_follow_their_policy(
    tmp_path: Path, policy: str, expected: float | None
) -> None:
    slope = {**NUMBER, "range": [0, 90], "out_of_range": policy, "missing": "median"}
    assert read(tmp_path / "t.csv", "a,y\n91,u\n", schema({"a": slope}))[0]["a"] == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must hold a header and rows; got an empty file"),
        ("A,y\n1,u\n", r"must have the column 'a'; got 2 columns without it"),
        ("a,y\n1,u\nx,u\ny,u\n", r"'a' must be a number; got 'x' in line 3, 'y' in line 4"),
        ("a,y\n,u\n", "'a' must have a value in every row; got none in line 2"),
        ("a,y\nNaN,u\nnan,u\n-nan,u\n", "'a' must be a number; got '-nan' in line 4"),
        ("a,y\n1e400,u\n", "'a' must be a finite number; got '1e400' in line 2"),
        ("a,y\n1,\n", "'y' must have a value in every row; got none in line 2"),
        (
            "a,y\n1,u\n1,u,2\n\n1\n",
            "each line must have as many values as the header has names; got .* in line 3",
        ),
        ('a,y\n1,u\n2,"u\n3,u\n', "each line must have a delimiter after a closing quote; got .* in line 3"),
        ('a,y\n"1",u\r\n2,u\n', "must be a well-formed csv file, line ends of one kind"),
        ("a,y\n1,\xe4\n".encode("latin-1"), "must be text in utf-8; got .*: set table.file.encoding"),
        (
            ("a,y\n" + "1,u\n" * 9999 + "1,\xe4\n").encode("latin-1"),
            "each line must be text in the encoding of table.file; got .* in line 10001",
        ),
        (b"PAR1....", "must be text; got a Parquet file: set table.file.format"),
        ("a,y\n" + "x,u\n" * 12, r"'x' in line 11 and 2 more$"),
        ("a,y\nx,\n1,\n", r"line 2\nFurther problems in 'y' \(2\)$"),
    ],
)
def test_what_is_wrong_is_reported_with_file_line_and_value(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path / "t.csv", content, schema({"a": NUMBER}))
    assert "t.csv" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


def test_rows_with_a_mistake_are_left_out_and_the_others_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("note,a,y\nn,1,u\nn,x,u\nn,3,u\nn,4,u,5\nn,5,u\n")
    with caplog.at_level(logging.WARNING):
        reader = TableReader(path, schema({"a": NUMBER}), with_target=False)
    assert "does not list are ignored: 'note'" in caplog.text
    assert [row["a"] for batch in reader.valid_batches() for row in batch.to_pylist()] == [1, 3, 5]
    assert [(found.line, found.column, found.value) for found in reader.problems.shown] == [
        (3, "a", "'x'"),
        (5, "", "'n,4,u,5'"),
    ]

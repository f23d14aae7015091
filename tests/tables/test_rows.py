"""Reading, checking and writing tables of all forms."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canopy.schema import TableSchema
from canopy.tables.rows import FirstRows, TableReader, read_table
from canopy.tables.writer import open_writer

NUMBER, CATEGORY = {"kind": "numeric"}, {"kind": "categorical"}
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=5)


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
def test_a_number_is_read(tmp_path: Path, content: str, file: dict[str, Any], expected: float) -> None:
    assert read(tmp_path / "t.csv", content, schema({"a": NUMBER}, **file)) == [{"a": expected, "y": "u"}]


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


def test_null_markers_are_those_of_the_file_or_of_the_column(tmp_path: Path) -> None:
    number, category = {**NUMBER, "missing": "median"}, {**CATEGORY, "missing": "category"}
    declared = schema({"country": {**CATEGORY, "null_values": []}, "kind": category})
    rows = read(tmp_path / "t.csv", "country,kind,y\nNA,NA,u\n", declared)
    assert rows == [{"country": "NA", "kind": None, "y": "u"}]
    typed = {"a": [1.0, -999.0, float("inf")], "code": [1, -999, 2], "y": ["u", "v", "u"]}
    pq.write_table(pa.table(typed), tmp_path / "t.parquet")
    declared = schema({"a": number, "code": category}, format="parquet", null_values=["", "-999", "inf"])
    (batch,) = read_table(tmp_path / "t.parquet", declared)
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


def test_numbers_out_of_range_follow_their_policy(tmp_path: Path) -> None:
    for policy, expected in (("clip", 90.0), ("missing", None)):
        slope = {**NUMBER, "range": [0, 90], "out_of_range": policy, "missing": "median"}
        assert read(tmp_path / "t.csv", "a,y\n91,u\n", schema({"a": slope})) == [{"a": expected, "y": "u"}]


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
        ("a,y\n1,u\n1,u,2\n\n1\n", "line must have as many values as the header has names; got .* in line 3"),
        ('a,y\n1,u\n2,"u\n3,u\n', "each line must have a delimiter after a closing quote; got .* in line 3"),
        ('a,y\n"1",u\r\n2,u\n', "must be a well-formed csv file, line ends of one kind"),
        (b"a,y\n1,\xe4\n", "must be text in utf-8; got .*: set table.file.encoding"),
        (b"a,y\n" + b"1,u\n" * 9999 + b"1,\xe4\n", "be text in the encoding of table.file; .* line 10001"),
        (b"PAR1....", "must be text; got a Parquet file: set table.file.format"),
        ("a,y\n" + "x,u\n" * 12, r"'x' in line 11 and 2 more$"),
        ("a,y\nx,\n1,\n", r"line 2\nFurther problems in 'y' \(2\)$"),
    ],
)
def test_a_mistake_is_reported_with_its_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path / "t.csv", content, schema({"a": NUMBER}))
    assert "t.csv" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_with_a_mistake_are_left_out_and_the_others_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    path, quoted = tmp_path / "t.csv", f'"x{end}y"'
    lines = ["note,a,b,y", *[f"n,1,{quoted},u"] * 4, "n,x,b,u", "n,3,b,u", "n,4,b,u,5", "n,5,b,u", ""]
    path.write_bytes(end.join(lines).encode())
    with caplog.at_level(logging.WARNING):
        reader = TableReader(path, schema({"a": NUMBER, "b": CATEGORY}), with_target=False)
    assert "does not list are ignored: 'note'" in caplog.text
    found = [row for batch in reader.valid_batches() for row in batch.to_pylist()]
    assert [row["a"] for row in found] == [1, 1, 1, 1, 3, 5]
    assert [row["b"] for row in found] == [f"x{end}y"] * 4 + ["b"] * 2
    problems = [(problem.line, problem.column, problem.value) for problem in reader.problems.shown]
    assert problems == [(10, "a", "'x'"), (12, "", "'n,4,b,u,5'")]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.tuples(st.floats(-3e38, 3e38) | st.none(), TEXTS), min_size=1, max_size=5))
def test_what_is_read_back_is_what_was_written(
    tmp_path: Path, suffix: str, values: list[tuple[float | None, str]]
) -> None:
    numbers, texts = zip(*values, strict=True)
    rows = pa.RecordBatch.from_pydict({"a": pa.array(numbers, pa.float64()), "b": texts, "y": texts})
    path = tmp_path / f"t.{suffix}"
    with open_writer(path, rows.schema) as write:
        write(rows.slice(0, 1))
        write(rows.slice(1))
    columns = {"a": {**NUMBER, "missing": "median"}, "b": CATEGORY}
    batches = read_table(path, schema(columns, format=suffix, null_values=[""]))
    assert [row for batch in batches for row in batch.to_pylist()] == rows.to_pylist()


@pytest.mark.parametrize("size", [1, 7, 100, 1000])
def test_repeated_rows_are_found_in_any_batches(size: int) -> None:
    random = np.random.default_rng(0)
    drawn = {
        "number": random.choice([0.5, 1, 2, np.nan], 1000),
        "same": random.choice([0.5, 1, 2, np.nan], 1000),
        "text": random.choice(["a", "b", "", None], 1000),
        "time": random.choice(np.array(["2024-01-01", "NaT", "1969-12-31"], "datetime64[us]"), 1000),
    }
    rows = pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in drawn.items()})
    is_first = FirstRows()
    found = np.concatenate([is_first(rows.slice(start, size)) for start in range(0, 1000, size)])
    different = [*map(repr, rows.to_pylist())]
    assert found.tolist() == [row not in different[:index] for index, row in enumerate(different)]
    assert 100 < found.sum() < 900

"""How a table is written in its file: found out, or set by options."""

import json
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from canopy.schema import TableSchema
from canopy.tables.draft.dialect import parse_options, sniff
from canopy.tables.draft.draft import draft_table
from canopy.tables.rows import read_table
from drafted import COLOURS, LABELS, N_ROWS, NUMBERS, finding, write


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a;b;c\n1,5;2,5;x\n1,5;2,5;x\n", {"delimiter": ";"}),
        ("a b\n1 2\n", {"delimiter": " "}),
        ("first name,b\nx y,2\nx y,2\n", {"delimiter": ","}),
        ("a,b\n'x, y',2\n'z',2\n", {"delimiter": ",", "quote": "'"}),
        ("'a|b\n1|'q'\n" + "2|x\n" * 9, {"delimiter": "|", "quote": '"'}),
        ('a,b\n5" pipe,2\n6" pipe,2\n', {"delimiter": ",", "quote": '"'}),
        # Lines of another form do not make it a table of one column.
        ("a,b\n1,2\n1,2\n1,2,3\n1\n1,2\n", {"delimiter": ","}),
        ("\ufeffa,b\n1,2\n", {"encoding": "utf-8", "delimiter": ","}),
    ],
)
def test_delimiter_and_quote_are_found(tmp_path: Path, content: str, expected: dict[str, str]) -> None:
    (tmp_path / "t.csv").write_text(content)
    found = sniff(tmp_path / "t.csv")
    assert {key: getattr(found, key) for key in expected} == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_encoding_is_found_in_the_whole_file(tmp_path: Path, encoding: str) -> None:
    table = {"Straße": [colour.replace("red", "Überweg") for colour in COLOURS], "y": LABELS}
    drafted = draft_table(write(tmp_path / "t.csv", table, encoding=encoding), target="y")
    assert drafted.file.encoding == encoding
    assert "'Überweg'" in finding(drafted, "Straße").why


def test_format_is_found_by_content_and_name(tmp_path: Path) -> None:
    columns = {"a": [*map(float, NUMBERS)], "flag": [row % 3 == 0 for row in range(N_ROWS)], "y": LABELS}
    table = pa.table(columns | {"list": [[1], []] * 60, "object": [None, {"b": 1}] * 60})
    pq.write_table(table, tmp_path / "no_suffix")
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    write(tmp_path / "t.csv.gz", columns)
    for name, form, nested in (
        ("no_suffix", "parquet", ["its values are list<element: int64>", "its values are struct<b: int64>"]),
        ("t.jsonl", "jsonl", ["its values are lists or objects"] * 2),
        ("t.csv.gz", "csv", []),
    ):
        drafted = draft_table(tmp_path / name, target="y")
        assert drafted.file.format == form
        kinds = [found.kind for found in drafted.columns]
        assert kinds == ["numeric", "categorical", *["ignored"] * len(nested)]
        assert [found.why for found in drafted.columns[2:]] == nested
        assert sum(batch.num_rows for batch in read_table(tmp_path / name, drafted.schema)) == N_ROWS


def test_types_of_parquet_are_read_as_numbers_texts_or_times(tmp_path: Path) -> None:
    rows = range(N_ROWS)
    columns = {
        "decimal": ("numeric", pa.array([Decimal(number) for number in NUMBERS])),
        "long": ("key", pa.array([2**62 + row for row in rows])),
        "time": ("ignored", pa.array([60 * row * 10**6 for row in rows], pa.time64("us"))),
        "date": ("datetime", pa.array([*rows], pa.date32())),
        "precise": ("datetime", pa.array([86_400 * 10**9 * row + 1 for row in rows], pa.timestamp("ns"))),
        "bytes": ("ignored", pa.array([b"\xff", b"b"] * 60)),
        "y": ("target", pa.array(LABELS)),
    }
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({name: values for name, (_, values) in columns.items()}), path)
    drafted = draft_table(path, target="y")
    assert {found.name: found.kind for found in [*drafted.columns, drafted.target]} == {
        name: kind for name, (kind, _) in columns.items()
    }
    (batch,) = read_table(path, drafted.schema)
    assert [str(batch[name][1]) for name in ("date", "precise")] == ["1970-01-02 00:00:00"] * 2
    for name, kind, message in (
        ("bytes", "categorical", "'bytes' must hold numbers, texts or times; got binary: set its kind"),
        ("date", "numeric", r"'date' must be a number; got datetime.date\(1970, 1, 1\) in line 1"),
        ("long", "numeric", None),
    ):
        schema = TableSchema.parse(drafted.table | {"columns": {name: {"kind": kind}}})
        with pytest.raises(ValueError, match=message) if message else nullcontext():
            list(read_table(path, schema))


@pytest.mark.parametrize(
    ("style", "delimiter", "decimal", "thousands"),
    [
        (lambda x: f"{x:,.2f}", ",", ".", ","),
        (lambda x: f"{x:,.2f}".translate(str.maketrans(",.", ".,")), ";", ",", "."),
        (lambda x: f"{x:.2f}".replace(".", ","), ";", ",", ""),
        (lambda x: f"{x:,.2f}".translate(str.maketrans(",.", "\u202f,")), ";", ",", " \xa0\u202f"),
        (lambda x: f"{x:,.0f}", ",", ".", ","),
        (lambda x: f"{x:,.1f}".replace(",", "'"), ",", ".", "'"),
    ],
)
def test_marks_are_found(tmp_path: Path, style: Any, delimiter: str, decimal: str, thousands: str) -> None:
    numbers = [(row - 60) * 77.25 for row in range(N_ROWS)]
    table = {"x": [*map(style, numbers)], "kind": COLOURS, "y": LABELS}
    path = write(tmp_path / "t.csv", table, delimiter=delimiter)
    drafted = draft_table(path, target="y")
    assert (drafted.file.decimal, drafted.file.thousands) == (decimal, thousands)
    (batch,) = read_table(path, drafted.schema)
    rounded = [float(f"{x:.0f}") for x in numbers] if style(0.5) == "0" else numbers
    assert batch["x"].to_pylist() == pytest.approx(rounded, abs=0.06)


def test_options_take_the_place_of_what_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", {"a": NUMBERS, "y": LABELS}, delimiter="\t")
    path.write_text(path.read_text() + "1\tno\textra\n")
    options = parse_options(["ragged=drop", "delimiter=\\t"])
    drafted = draft_table(path, target="y", file_options=options)
    assert (drafted.n_rows, drafted.file.ragged, drafted.file.delimiter) == (N_ROWS, "drop", "\t")
    for option, message in (
        ("raged=drop", r"--file\.raged: .* \(did you mean 'ragged'\?\)"),
        ("ragged=dorp", r"--file\.ragged: must be 'reject' or 'drop'; got 'dorp'"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_options([option])

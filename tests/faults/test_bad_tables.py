"""Tables that are no good: each is refused with one message, and one that is good is not."""

import gzip
import io
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from faults.project import ROOT, Project

pytestmark = pytest.mark.faults

Change = Callable[[str], str | bytes]
SAMPLE = ROOT / "tests/data/covertype.zip"


def each_line(change: Callable[[str], str]) -> Change:
    return lambda text: "\n".join(map(change, text.splitlines()))


def cell(column: str, value: str) -> Change:
    """Replace the value of a column in the fifth row."""

    def change(text: str) -> str:
        rows = [row.split(",") for row in text.splitlines()]
        rows[5][rows[0].index(column)] = value
        return "\n".join(map(",".join, rows)) + "\n"

    return change


def replaced(old: str, new: str, count: int = -1) -> Change:
    return lambda text: text.replace(old, new, count)


BAD: dict[str, tuple[Change, str]] = {
    # The file as a whole.
    "empty": (lambda text: "", "must hold a header and rows; got an empty file"),
    "spaces": (lambda text: "  \n  \n", "must have the column 'Elevation'"),
    "header only": (lambda text: text.splitlines()[0] + "\n", "must hold rows below its header; got none"),
    "no header": (lambda text: text.partition("\n")[2], "must name each column once; got '0' twice"),
    "JSON": (lambda text: '{"Elevation": [2596]}\n', "'Elevation' and 54 more; got only '\\{.*"),
    "marks of a conflict": (lambda text: "<<<<<<< HEAD\n" + text, "must have the column 'Elevation'"),
    "gzip": (lambda text: gzip.compress(text.encode()), "compressed by gzip: let its name end in .gz"),
    "ZIP": (lambda text: SAMPLE.read_bytes(), "got a ZIP archive or an Excel workbook: convert it to CSV"),
    "Parquet": (lambda text: pd.DataFrame({"a": [1]}).to_parquet(), "Parquet file: set table.file.format"),
    # Encodings, separators and quotes.
    "UTF-16": (lambda text: text.encode("utf-16"), "must be text in utf-8; .*: set table.file.encoding"),
    "Latin 1 in a value": (
        lambda text: text.replace("\n", "\nä", 1).encode("latin-1"),
        "must be text in utf-8; got .* byte 0xe4 .*: set table.file.encoding",
    ),
    "a zero byte in a value": (cell("Slope", "1\x000"), "'Slope' must be a number; got .* in line 6"),
    "semicolons": (replaced(",", ";"), "54 more; got only 'Elevation;Aspect;.*': set table.file.delimiter"),
    "a quote that is not closed": (cell("Slope", '"12'), "each line must have .*; got .* in line 6"),
    "a decimal comma": (cell("Slope", '"12,5"'), "'Slope' must be a number; got '12,5' in line 6"),
    # The header.
    "a column missing": (replaced("Slope,", "", 1), "the column 'Slope'; got 54 columns without it"),
    "a name too many": (replaced("Slope,", "Slope,Wind,", 1), r"header has names; .* \(400\)|390 more"),
    "a column twice": (replaced("Slope,", "Slope,Slope,", 1), "each column once; got 'Slope' twice"),
    "a column misspelt": (replaced("Slope", "Slopee", 1), r"'Slope'; .* \(did you mean 'Slopee'\?\)"),
    "a name of a million characters": (replaced("Slope", "s" * 10**6, 1), "have the column 'Slope'; got 55"),
    # The form of rows.
    "a row too short": (
        lambda text: re.sub(r"\A((.*\n){5}.*),.*", r"\1", text),
        "as many values as the header has names; got .* in line 6",
    ),
    "cut off within a row": (
        lambda text: text[: len(text) * 2 // 3].rpartition(",")[0],
        "as many values as the header has names; got [^ ]* in line 267\n",
    ),
    # Values.
    "a text of a million characters": (cell("Slope", "x" * 10**6), r"a number; got 'x+\.\.\. in line 6"),
    "a number of a million digits": (cell("Slope", "9" * 10**6), "'Slope' must|well-formed"),
    "2**63": (cell("Elevation", str(2**63)), f"from -430 to 8850 m; got '{2**63}' in line 6"),
    "1e400": (cell("Slope", "1e400"), "'Slope' must"),
    "nan": (cell("Slope", "nan"), "'Slope' must have a value in every row; got none in line 6"),
    "inf": (cell("Slope", "inf"), "'Slope' must be a finite number; got 'inf' in line 6"),
    "a word": (cell("Slope", "steep"), "'Slope' must be a number; got 'steep' in line 6"),
    "outside its range": (cell("Slope", "91"), "must be from 0 to 90 degrees; got '91' in line 6"),
    # Groups of 0/1 columns; the fifth row is in the first area.
    "a half": (cell("Wilderness_Area1", "0.5"), "'Wilderness_Area1' must be 0 or 1; got '0.5' in line 6"),
    "none of a group": (cell("Wilderness_Area1", "0"), "'Wilderness_Area' must have .*; got none in line 6"),
    "two of a group": (cell("Wilderness_Area2", "1"), "have exactly one column that is 1; got 2 in line 6"),
    # Labels.
    "class 1.5": (cell("Cover_Type", "1.5"), "'Cover_Type' must be one of '1', .* '7'; got '1.5' in line 6"),
    "no class": (cell("Cover_Type", ""), "'Cover_Type' must have a value in every row; got none in line 6"),
}

GOOD: dict[str, Change] = {
    "a byte order mark": lambda text: text.encode("utf-8-sig"),
    "lines as Windows ends them": replaced("\n", "\r\n"),
    "a column too many": each_line(lambda row: f"{row},{row.partition(',')[0]}0"),
    "commas at the ends": replaced("\n", ",\n"),
    "numbers with a fraction of 0": each_line(lambda row: re.sub(r"\b\d+\b", r"\g<0>.0", row)),
    "no end of the last line": lambda text: text.rstrip("\n"),
    "quotes": each_line(lambda row: ",".join(f'"{value}"' for value in row.split(","))),
    "columns in another order": each_line(lambda row: ",".join(reversed(row.split(",")))),
}


@pytest.fixture(scope="module")
def few_rows(sample_csv: str) -> str:
    """400 rows of the sample; the fifth is in the first area."""
    lines = sample_csv.splitlines()
    area = lines[0].split(",").index("Wilderness_Area1")
    first = next(row for row in lines[1:] if row.split(",")[area] == "1")
    return "\n".join([*lines[:5], first, *lines[5:400]]) + "\n"


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_bad_table_is_refused(
    change: Change, message: str, few_rows: str, prepared: Project, tmp_path: Path
) -> None:
    raw = write(tmp_path / "raw.csv", change(few_rows))
    assert "raw.csv" in prepared.refuses("scripts/drop_columns.py", f"paths.raw={raw}", message=message)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_table_is_taken(name: str, few_rows: str, prepared: Project, tmp_path: Path) -> None:
    outputs = []
    for change in (GOOD[name], str):
        raw = write(tmp_path / "raw.csv", change(few_rows))
        prepared.run("scripts/drop_columns.py", f"paths.raw={raw}", f"paths.interim={tmp_path}")
        outputs.append((tmp_path / "drop_columns.csv").read_bytes())
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"4": 0}, r"Each class .* must have rows; got none of 4 \(Cottonwood/Willow\): take it out"),
        ({"4": 2}, r"Each class of 'Cover_Type' must have at least 3 rows; got '4' \(2\)"),
        (dict.fromkeys("1234567", 3), "Each class must have a row in every split|test_size"),
    ],
    ids=["no row", "two rows", "three rows each"],
)
def test_classes_with_too_few_rows_are_refused(
    kept: dict[str, int], message: str, sample_csv: str, prepared: Project, tmp_path: Path
) -> None:
    table = pd.read_csv(io.StringIO(sample_csv), dtype=str)
    n_earlier = table.groupby("Cover_Type").cumcount()
    raw = tmp_path / "raw.csv"
    table[n_earlier < table["Cover_Type"].map(kept).fillna(len(table))].to_csv(raw, index=False)
    paths = (f"paths.raw={raw}", f"paths.interim={tmp_path}")
    if "3 rows" in message:
        prepared.refuses("scripts/drop_columns.py", *paths, message=message)
        assert not (tmp_path / "drop_columns.csv").exists()
        # What is too rare is left out where params.yaml says so.
        prepared.run("scripts/drop_columns.py", *paths, "+table.target.rare=drop")
        prepared.run("scripts/split.py", *paths, "+table.target.rare=drop")
    else:
        prepared.run("scripts/drop_columns.py", *paths)
        prepared.refuses("scripts/split.py", *paths, message=message)
        assert not (tmp_path / "split.csv").exists()


CUT = "{}.csv(: each line must| is damaged)"


@pytest.mark.parametrize(
    ("stage", "name", "cut", "message"),
    [
        ("split", "drop_columns", b",", CUT),
        ("normalize", "drop_columns", b",", CUT),
        ("cap_classes", "normalize", b",", CUT),
        ("make_tensors", "cap_classes", b",", CUT),
        ("normalize", "split", b"\n", r"a \(split\) for each of 4,008 rows; got"),
    ],
)
def test_stage_refuses_table_that_was_cut_off(
    stage: str, name: str, cut: bytes, message: str, project: Project
) -> None:
    path = project.folder / f"data/interim/{name}.csv"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2].rpartition(cut)[0])
    project.refuses(f"scripts/{stage}.py", message=message.format(name))

"""Tables that are no good: each is refused with one message, and one that is good is not."""

import gzip
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from faults.project import Project

pytestmark = pytest.mark.faults

Change = Callable[[str], str | bytes]


def cell(column: str, value: str, *, row: int = 5) -> Change:
    """Replace the value of a column in a row; row 1 stands in line 2."""

    def change(text: str) -> str:
        lines = text.splitlines()
        values = lines[row].split(",")
        values[lines[0].split(",").index(column)] = value
        lines[row] = ",".join(values)
        return "\n".join(lines) + "\n"

    return change


def header(old: str, new: str) -> Change:
    return lambda text: text.replace(old, new, 1)


def line(row: int, change: Callable[[str], str]) -> Change:
    def changed(text: str) -> str:
        lines = text.splitlines()
        lines[row] = change(lines[row])
        return "\n".join(lines) + "\n"

    return changed


def parquet(text: str) -> bytes:
    sink = io.BytesIO()
    pa.parquet.write_table(pa.table({"a": [1, 2]}), sink)
    return sink.getvalue()


def zipped(text: str) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("covtype.csv", text)
    return sink.getvalue()


def separated(separator: str) -> Change:
    return lambda text: text.replace(",", separator)


BAD: dict[str, tuple[Change, str]] = {
    # The file as a whole.
    "empty": (lambda text: "", "must hold a header and rows; found an empty file"),
    "one empty line": (lambda text: "\n", "must hold a header and rows; found an empty file or line"),
    "spaces": (lambda text: "  \n  \n", "must have the column 'Elevation'"),
    "header only": (lambda text: text.splitlines()[0] + "\n", "must hold rows below its header; found none"),
    "header without line end": (lambda text: text.splitlines()[0], "well-formed CSV file; found: .*Empty"),
    "no header": (lambda text: text.partition("\n")[2], "must have the column 'Elevation'"),
    "a page of a server": (lambda text: "<!DOCTYPE html>\n<p>Not found</p>\n", "must have the column"),
    "JSON": (lambda text: '{"Elevation": [2596]}\n', "must be a CSV file in UTF-8; got JSON: convert it"),
    "a pointer of git LFS": (lambda text: "version 1\noid sha256:0\nsize 9\n", "must have the column"),
    "marks of a conflict": (lambda text: "<<<<<<< HEAD\n" + text, "must have the column 'Elevation'"),
    "a comment first": (lambda text: "# covertype\n" + text, "must have the column 'Elevation'"),
    "an empty line first": (lambda text: "\n" + text, "must hold a header and rows"),
    "gzip": (lambda text: gzip.compress(text.encode()), "must be a CSV file in UTF-8"),
    "ZIP": (zipped, "must be a CSV file in UTF-8|must have the column"),
    "Parquet": (parquet, "must be a CSV file in UTF-8|must have the column"),
    "zeros": (lambda text: bytes(4096), "must be a CSV file|must have the column"),
    # Encodings.
    "UTF-16": (lambda text: text.encode("utf-16"), "must be a CSV file in UTF-8"),
    "UTF-16 without a mark": (lambda text: text.encode("utf-16-le"), "must be a CSV file|must have the col"),
    "UTF-32": (lambda text: text.encode("utf-32"), "must be a CSV file in UTF-8"),
    "Latin 1 in the header": (
        lambda text: header("Slope", "Höhe")(text).encode("latin-1"),  # type: ignore[union-attr]
        "must be a CSV file in UTF-8",
    ),
    "Latin 1 in a value": (
        lambda text: cell("Slope", "ä")(text).encode("latin-1"),  # type: ignore[union-attr]
        "must be a CSV file in UTF-8; found 'utf-8' codec can't decode byte 0xe4",
    ),
    "a zero byte in a value": (cell("Slope", "1\x000"), "'Slope' must hold numbers; found .* in line 6"),
    # Separators and quotes.
    "semicolons": (separated(";"), "separated by commas; got semicolons between 55 names"),
    "tabs": (separated("\t"), "separated by commas; got tabs between 55 names"),
    "spaces between values": (separated(" "), "must have the column 'Elevation' and 54 more"),
    "bars": (separated("|"), "separated by commas; got vertical bars between 55 names"),
    "a space after each comma": (separated(", "), "must have the column 'Aspect'"),
    "a quote that is not closed": (cell("Slope", '"12'), "well-formed CSV file; found: .*[Cc]olumns"),
    "a quote in the header that is not closed": (header("Elevation", '"Elevation'), "must have the column"),
    "a decimal comma": (cell("Slope", '"12,5"'), "'Slope' must hold numbers; found '12,5' in line 6"),
    "a comma for thousands": (cell("Elevation", '"2,596"'), "must hold numbers; found '2,596' in line 6"),
    # The header.
    "a column missing": (header("Slope,", ""), "must have the column 'Slope'; found 54 columns without it"),
    "a column too many": (header("Slope,", "Slope,Wind,"), "and no others; found 'Wind'"),
    "a column twice": (header("Slope,", "Slope,Slope,"), "each column once; found 'Slope' twice"),
    "a column misspelt": (header("Slope", "Slopee"), r"'Slope'; .* \(did you mean 'Slopee'\?\)"),
    "a column in small letters": (header("Slope", "slope"), r"'Slope'; .* \(did you mean 'slope'\?\)"),
    "a column without a name": (header("Slope", ""), "must have the column 'Slope'"),
    "a name of a million characters": (header("Slope", "s" * 10**6), "found field larger than field limit"),
    # The form of rows.
    "a row too short": (line(5, lambda text: text.rpartition(",")[0]), "Row #6: Expected 55 columns, got 54"),
    "a row too long": (line(5, lambda text: text + ",1"), "Row #6: Expected 55 columns, got 56"),
    "commas at the ends": (lambda text: text.replace("\n", ",\n"), "and no others; found ''"),
    "cut off within a row": (
        lambda text: text[: len(text) * 2 // 3].rpartition(",")[0],
        "Expected 55 columns",
    ),
    # Values.
    "a text of a million characters": (cell("Slope", "x" * 10**6), r"must hold numbers; found 'x{100,}"),
    "a number of a million digits": (cell("Slope", "9" * 10**6), "'Slope' must|well-formed"),
    "2**63": (cell("Elevation", str(2**63)), r"must be from -430 to 8850 m; found 9\.22\S+ in line 6"),
    "10**30": (cell("Elevation", "1" + "0" * 30), r"must be from -430 to 8850 m; found 1e\+30 in line 6"),
    "1e400": (cell("Slope", "1e400"), "'Slope' must"),
    "NaN": (cell("Slope", "NaN"), "'Slope' must have a value in every row; found none in line 6"),
    "nan": (cell("Slope", "nan"), "'Slope' must have a value in every row; found none in line 6"),
    "NA": (cell("Slope", "NA"), "'Slope' must have a value in every row; found none in line 6"),
    "NULL": (cell("Slope", "NULL"), "'Slope' must have a value in every row; found none in line 6"),
    "None": (cell("Slope", "None"), "'Slope' must hold numbers; found 'None' in line 6"),
    "a question mark": (cell("Slope", "?"), r"'Slope' must hold numbers; found '\?' in line 6"),
    "nothing": (cell("Slope", ""), "'Slope' must have a value in every row; found none in line 6"),
    "inf": (cell("Slope", "inf"), "'Slope' must be finite; found inf in line 6"),
    "-Infinity": (cell("Slope", "-Infinity"), "'Slope' must be finite; found -inf in line 6"),
    "a word": (cell("Slope", "steep"), "'Slope' must hold numbers; found 'steep' in line 6"),
    "a percentage": (cell("Slope", "5%"), "'Slope' must hold numbers; found '5%' in line 6"),
    "a formula": (cell("Slope", "=A1+1"), "'Slope' must hold numbers; found '=A1"),
    "a date": (cell("Slope", "2024-01-31"), "'Slope' must hold numbers; found '2024-01-31' in line 6"),
    "outside its range": (cell("Slope", "91"), "must be from 0 to 90 degrees; found 91 in line 6"),
    "below its range": (cell("Aspect", "-1"), "must be from 0 to 360 degrees; found -1 in line 6"),
    # Groups of 0/1 columns.
    "true": (cell("Wilderness_Area1", "true"), "'Wilderness_Area1' must hold numbers; found 'true'"),
    "2 of 0 and 1": (cell("Wilderness_Area1", "2"), "'Wilderness_Area1' must hold 0 or 1; found 2"),
    "a half": (cell("Wilderness_Area1", "0.5"), "'Wilderness_Area1' must hold 0 or 1; found 0.5 in line 6"),
    "none of a group": (
        lambda text: cell("Wilderness_Area1", "0")(text),  # the fifth row is in the first area
        "exactly one column of 'Wilderness_Area'; found 0 set in line 6",
    ),
    "two of a group": (cell("Wilderness_Area2", "1"), "exactly one column of 'Wilderness_Area'; found 2 set"),
    # Labels.
    "class 0": (cell("Cover_Type", "0"), r"'Cover_Type' must be one of \[1, .* 7\]; found 0 in line 6"),
    "class 8": (cell("Cover_Type", "8"), r"'Cover_Type' must be one of \[1, .* 7\]; found 8 in line 6"),
    "class -1": (cell("Cover_Type", "-1"), r"'Cover_Type' must be one of \[1, .* 7\]; found -1 in line 6"),
    "class 1.5": (cell("Cover_Type", "1.5"), "'Cover_Type' must be one of .*; found 1.5 in line 6"),
    "class by name": (cell("Cover_Type", "Aspen"), "'Cover_Type' must hold numbers; found 'Aspen' in line 6"),
    "no class": (cell("Cover_Type", ""), "'Cover_Type' must have a value in every row; found none in line 6"),
}

GOOD: dict[str, Change] = {
    "a byte order mark": lambda text: text.encode("utf-8-sig"),
    "lines as Windows ends them": lambda text: text.replace("\n", "\r\n"),
    "no end of the last line": lambda text: text.rstrip("\n"),
    "quotes": lambda text: "\n".join(
        ",".join(f'"{value}"' for value in row.split(",")) for row in text.splitlines()
    ),
    "columns in another order": lambda text: "\n".join(
        ",".join(reversed(row.split(","))) for row in text.splitlines()
    ),
}


@pytest.fixture(scope="module")
def few_rows(sample_csv: str) -> str:
    """The first rows of the sample; the fifth is in the first area."""
    lines = sample_csv.splitlines()
    area = lines[0].split(",").index("Wilderness_Area1")
    first = next(row for row in lines[1:] if row.split(",")[area] == "1")
    return "\n".join([*lines[:5], first, *lines[5:400]]) + "\n"


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("name", BAD)
def test_a_bad_table_is_refused(
    name: str,
    few_rows: str,
    prepared: Project,
    tmp_path: Path,
    refuses: Callable[..., str],
    count: Callable[..., None],
) -> None:
    change, message = BAD[name]
    raw = write(tmp_path / "raw.csv", change(few_rows))
    told = refuses(prepared, "scripts/drop_columns.py", f"paths.raw={raw}", message=message)
    assert "raw.csv" in told
    count("bad_inputs.tables")


@pytest.mark.parametrize("name", GOOD)
def test_a_good_table_is_taken(name: str, few_rows: str, prepared: Project, tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.csv", GOOD[name](few_rows))
    prepared.run("scripts/drop_columns.py", f"paths.raw={raw}", f"paths.interim={tmp_path}")
    plain = write(tmp_path / "plain.csv", few_rows)
    found = (tmp_path / "drop_columns.csv").read_bytes()
    prepared.run("scripts/drop_columns.py", f"paths.raw={plain}", f"paths.interim={tmp_path}")
    assert (tmp_path / "drop_columns.csv").read_bytes() == found


def of_classes(counts: dict[int, int], text: str) -> str:
    """Keep so many rows of each class, all of those that are not named."""
    head, *rows = text.splitlines()
    kept = [head]
    left = dict(counts)
    for row in rows:
        label = int(row.rpartition(",")[2])
        if label not in left:
            kept.append(row)
        elif left[label]:
            left[label] -= 1
            kept.append(row)
    return "\n".join(kept) + "\n"


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({4: 0}, r"Each class .* must have rows; found none of 4 \(Cottonwood/Willow\): take it out"),
        ({4: 1}, "Each class must have at least 3 rows, one for each split; found class 4 with 1"),
        ({4: 2}, "Each class must have at least 3 rows, one for each split; found class 4 with 2"),
        (dict.fromkeys(range(1, 8), 3), "Each class must have a row in every split|test_size"),
    ],
    ids=["no row", "one row", "two rows", "three rows each"],
)
def test_classes_with_too_few_rows_are_refused(
    counts: dict[int, int],
    message: str,
    sample_csv: str,
    prepared: Project,
    tmp_path: Path,
    refuses: Callable[..., str],
    count: Callable[..., None],
) -> None:
    raw = write(tmp_path / "raw.csv", of_classes(counts, sample_csv))
    paths = (f"paths.raw={raw}", f"paths.interim={tmp_path}")
    prepared.run("scripts/drop_columns.py", *paths)
    refuses(prepared, "scripts/split.py", *paths, message=message)
    assert not (tmp_path / "split.csv").exists()
    count("bad_inputs.tables")


@pytest.mark.parametrize("stage", ["explore", "split", "normalize", "cap_classes", "make_tensors"])
def test_each_stage_refuses_a_table_that_was_cut_off(
    stage: str, project: Project, refuses: Callable[..., str], count: Callable[..., None]
) -> None:
    before = {"split": "drop_columns", "normalize": "split", "cap_classes": "normalize"}
    name = f"data/interim/{before.get(stage, 'cap_classes')}.csv"
    path = project.folder / ("data/raw/covtype.csv" if stage == "explore" else name)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2].rpartition(b",")[0])
    told = refuses(project, f"scripts/{stage}.py", message=f"{re.escape(path.name)} must")
    assert "columns" in told
    count("corrupted.tables")

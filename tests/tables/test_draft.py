"""Drafting a schema: the kinds of its columns, its target, and what is printed."""

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from canopy.tables.draft.dialect import parse_options
from canopy.tables.draft.draft import draft_table
from canopy.tables.rows import read_table
from drafted import COLOURS, LABELS, N_ROWS, NUMBERS, column, draft, every, finding, write

ROWS = range(N_ROWS)
SECONDS = [1_700_000_000 + row * 25_200 for row in ROWS]
COUNTRIES = [("NA", "ZA", "BW")[row % 3] for row in ROWS]
NUMERIC, CATEGORICAL, DATETIME = ({"kind": kind} for kind in ("numeric", "categorical", "datetime"))
DATES = [
    ("iso", [f"2024-{1 + row % 12:02d}-{1 + row % 28:02d}" for row in ROWS]),
    ("iso", [f"2024-01-{1 + row % 28:02d}T{row % 24:02d}:00:00Z" for row in ROWS]),
    ("%d/%m/%Y", [f"{1 + row % 28:02d}/{1 + row % 12:02d}/2024" for row in ROWS]),
    ("%m/%d/%Y", [f"{1 + row % 12}/{1 + row % 28}/2024" for row in ROWS]),
    ("%d.%m.%y %H:%M", [f"{1 + row % 28}.{1 + row % 12}.24 {row % 24:02d}:30" for row in ROWS]),
    ("%d-%b-%Y", [f"{1 + row % 28:02d}-{('Jan', 'Oct')[row % 2]}-2024" for row in ROWS]),
    ("%Y%m%d", [f"2024{1 + row % 12:02d}{1 + row % 28:02d}" for row in ROWS]),
    ("%H:%M", [f"{row % 24:02d}:{row % 60:02d}" for row in ROWS]),
]
COMMON = ["other", "b", "rare other"] * 200
GIVEN_SPLIT = "given split? Then split.method: predefined, split.column: x"
LEAK = "GIVES THE TARGET AWAY: right alone in 100.0% of rows; {kind: ignored} unless known before"


@pytest.mark.parametrize(
    ("name", "values", "kind", "why"),
    [
        ("x", NUMBERS, "numeric", "-6 to 6.5"),
        ("x", COLOURS, "categorical", "3 values: 'blue', 'green', 'red'"),
        ("x", ["True", "False"] * 60, "categorical", "'False', 'True'"),
        ("x", [1, 0] * 60, "numeric", "0 to 1"),
        ("x", every(4, "-0.0", NUMBERS), "numeric", " to "),
        ("x", [f"{row % 40:05d}" for row in ROWS], "categorical", "codes"),
        ("pclass", [1 + row % 3 for row in ROWS], "categorical", "codes"),
        ("x", range(100_000, 100_000 + N_ROWS), "key", "100000 to 100119"),
        ("x", [2 * N_ROWS - row for row in ROWS], "key", "another integer in each row"),
        ("customer_id", [(100_000 + row) ** 2 for row in ROWS], "key", "another integer in each row"),
        ("x", [10**20 + 7 * row for row in ROWS], "key", "another integer in each row"),
        ("x", [10**17 + row % 5 for row in ROWS], "categorical", "codes"),
        ("x", [f"{row:x}-{row}" for row in ROWS], "key", "another value in each row"),
        ("x", [row * row for row in ROWS], "numeric", "integers 0 to 14161"),
        ("x", [1990 + row // 12 for row in ROWS], "numeric", "integers 1990 to 1999"),
        ("x", [f"customer {row} wrote about {row}" for row in ROWS], "ignored", "120 different ones, 5 w"),
        ("x", [f"v{row * 2 // 3}" for row in ROWS], "ignored", "80 different values in 120 rows"),
        ("x", [""] * N_ROWS, "ignored", "no text or number in any row"),
        ("x", [1] * N_ROWS, "ignored", "'1' in every row"),
        ("x", every(2, "", ["1"] * N_ROWS), "categorical", "50.0% missing"),
        ("", [row * row for row in ROWS], "key", "another integer in each row"),
        ("created_at", SECONDS, "datetime", "seconds since 1970"),
        ("x", SECONDS, "numeric", "integers"),
    ],
)
def test_kind_is_found(tmp_path: Path, name: str, values: Iterable[Any], kind: str, why: str) -> None:
    found = finding(draft(tmp_path, **{name: values}), name or "unnamed_2")
    assert found.kind == kind
    assert why in found.why


@pytest.mark.parametrize(
    ("values", "declared", "look"),
    [
        *((values, {**DATETIME, "format": form}, "") for form, values in DATES),
        (
            [f"{1 + row % 12:02d}/{1 + row % 7:02d}/2024" for row in ROWS],
            {**DATETIME, "format": "%d/%m/%Y"},
            "day or month first? All values fit both",
        ),
        (
            every(10, "-999", NUMBERS),
            NUMERIC,
            '-999 (12 rows; next -6): missing? Then null_values: ["", "-999"], missing: median',
        ),
        (COUNTRIES, CATEGORICAL, "NA is a value, as all are two capital letters"),
        *(
            (
                [*NUMBERS[:3], odd, *NUMBERS[4:]],
                {**NUMERIC, "missing": "median", "null_values": ("", odd)},
                f"'{odd}' (1 row) is read as missing",
            )
            for odd in ("oops", "1e400")
        ),
        ([label[0].upper() for label in LABELS], CATEGORICAL, LEAK),
        ([f"{row + 1000 * (label == 'yes')}.5" for row, label in enumerate(LABELS)], NUMERIC, LEAK),
        ([f"{number}%" for number in NUMBERS], {**NUMERIC, "marks": ("%",)}, ""),
        (["Train", "Test"] * 60, {"kind": "ignored"}, GIVEN_SPLIT),
        ([f"${3 * row:,}.50" for row in ROWS], {**NUMERIC, "marks": ("$",)}, ""),
    ],
)
def test_column_is_declared(tmp_path: Path, values: list[Any], declared: dict[str, Any], look: str) -> None:
    drafted = draft(tmp_path, x=values)
    assert column(drafted) == declared
    assert finding(drafted).looks == [look] * bool(look)
    assert finding(drafted, "a").looks == []


def test_null_markers_are_those_that_the_file_uses(tmp_path: Path) -> None:
    drafted = draft(
        tmp_path,
        b=every(7, "-", NUMBERS),
        c=every(9, "unknown", NUMBERS),
        date=every(8, "N/A", [f"2024-01-{1 + row % 28:02d}" for row in ROWS]),
        # Elsewhere NA means missing, so it is no code of a country.
        country=COUNTRIES,
        d=every(5, "NA", NUMBERS),
        sign=["+", "-"] * 60,
    )
    assert drafted.file.null_values == ("", "N/A", "NA")
    for name, own in (("b", ("-",)), ("c", ("unknown",)), ("d", ())):
        markers = {"null_values": tuple(sorted(["", "N/A", "NA", *own]))} if own else {}
        assert column(drafted, name) == {**NUMERIC, "missing": "median", **markers}
    assert column(drafted, "date") == {**DATETIME, "format": "iso", "missing": "median"}
    assert column(drafted, "country") == {**CATEGORICAL, "missing": "category"}
    assert column(drafted, "sign") == CATEGORICAL
    # Markers that were given are those of the file, and no others.
    given = parse_options(["null_values=-", "null_values=unknown"])
    drafted = draft_table(tmp_path / "t.csv", target="y", file_options=given)
    assert drafted.file.null_values == ("", "-", "unknown")
    assert column(drafted, "b") == {**NUMERIC, "missing": "median"}
    assert column(drafted, "d")["null_values"] == ("", "-", "NA", "unknown")
    assert column(drafted, "sign") == {**CATEGORICAL, "missing": "category"}


def test_several_files_are_one_table(tmp_path: Path) -> None:
    odd = [*NUMBERS[:50], "oops", *NUMBERS[51:]]
    for part in (2, 0, 1):
        rows = slice(part * 40, (part + 1) * 40)
        write(tmp_path / f"p{part}.csv", {"a": NUMBERS[rows], "x": odd[rows], "y": LABELS[rows]})
    write(tmp_path / ".hidden.csv", {"b": NUMBERS})
    for pattern in (tmp_path, tmp_path / "*.csv"):
        drafted = draft_table(pattern, target="y")
        assert (len(drafted.files), drafted.n_rows) == (3, N_ROWS)
        assert "'oops' (1 row)" in finding(drafted).looks[0]
        batches = [*read_table(pattern, drafted.schema)]
        assert [row["a"] for batch in batches for row in batch.to_pylist()] == [*map(float, NUMBERS)]
    write(tmp_path / "p3.csv", {"b": NUMBERS, "x": NUMBERS, "y": LABELS})
    with pytest.raises(ValueError, match=r"p3.csv must have the columns of .*p0.csv; got 'a' in one"):
        draft_table(tmp_path, target="y")


@pytest.mark.parametrize(
    ("labels", "declared", "look"),
    [
        (LABELS, {"classes": {"no": "no", "yes": "yes"}}, ""),
        # Numbers are in their order.
        ([8 + row * row % 5 for row in ROWS], {"classes": {"8": "8", "9": "9", "12": "12"}}, ""),
        (
            every(12, "", LABELS),
            {"missing": "drop", "classes": {"no": "no", "yes": "yes"}},
            "10 rows without a label: dropped",
        ),
        # Rare classes of 4 rows among 604 and of 8 among 608; no class has the name of the merged one.
        ([*"rs" * 2, *COMMON], {"rare": "drop"}, "classes with few rows: 'r', 's' (4 rows): dropped"),
        (
            [*"rstu" * 2, *COMMON],
            {"rare": "merge", "merged_name": "rare rare other"},
            "classes with few rows: 'r', 's', 't', ... (8 rows): merged",
        ),
        (["rare", *LABELS[1:]], {"rare": "drop"}, "classes with few rows: 'rare' (1 row): dropped"),
    ],
)
def test_target_is_declared(tmp_path: Path, labels: list[Any], declared: dict[str, Any], look: str) -> None:
    drafted = draft(tmp_path, labels=labels)
    assert drafted.table["target"] == {"column": "y", **declared}
    assert drafted.target.looks == [look] * bool(look)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must hold a header and rows; got an empty file"),
        ("a,b,y\n", "must hold rows below its header; got none"),
        ("a,a,y\n1,2,u\n", "must name each column once; got 'a' twice"),
        ("a,y\n1,u\n2,v\n", r"two classes with 3 rows each.* got in 'y': 'u' \(1 row\), 'v' \(1 row\)$"),
        ("a,y\n" + "1,\n" * 30, "two classes with 3 rows each.* got in 'y': none"),
        ("a,y\n" + "1,u\n" * 5 + "1,u,extra\n1\n", r"values .* in line 7, .* in line 8\n.*ragged=drop"),
        ("a,yy\n1,u\n", r"such as 'a', 'yy'; got 'y' \(did you mean 'yy'\?\)"),
        ("a,y\n" + "".join(f"1,n{n}\n" for n in range(1001)), "at most 1,000 classes; got 1,001"),
        ("a,y\n" + "1,u\n1,v\n" * 9, "must have a feature besides 'y'; .*\na: '1' in every row"),
        ("a,y\n1,2,u\n1,2,v\n", "as many as the lines have values; got 'a,y'"),
        ("y\nu\nv\n", "a header of at least two names, .* got 'y'"),
        (gzip.compress(b"a,y\n1,u\n", mtime=0), r"got a file .* gzip: let its name end in \.gz"),
        (b"PK\x03\x04", "got a ZIP archive or an Excel workbook: convert it to CSV"),
        (b'[{"a": 1}]', "one JSON object per line.*; got .* in line 1"),
    ],
)
def test_what_cannot_be_drafted_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / ("t.csv" if isinstance(content, str) else "t.json")
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=message) as caught:
        draft_table(path, target="y")
    assert len(str(caught.value).splitlines()) <= 3

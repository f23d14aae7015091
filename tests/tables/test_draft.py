"""Drafting a schema: the kinds of its columns, its target, and what is printed."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from canopy.schema import TableSchema
from canopy.tables.draft.draft import draft_table
from canopy.tables.draft.wording import describe
from drafted import COLOURS, LABELS, N_ROWS, NUMBERS, column, draft, every, finding, write

ROWS = range(N_ROWS)


@pytest.mark.parametrize(
    ("name", "values", "kind", "why"),
    [
        ("x", NUMBERS, "numeric", "-6 to 6.5"),
        ("x", COLOURS, "categorical", "3 values: 'blue', 'green', 'red'"),
        ("x", ["True", "False"] * 60, "categorical", "'False', 'True'"),
        ("x", ["yes", "no"] * 60, "categorical", "'no', 'yes'"),
        ("x", ["t", "f"] * 60, "categorical", "'f', 't'"),
        ("x", [1, 0] * 60, "numeric", "0 or 1"),
        ("x", every(4, "-0.0", NUMBERS), "numeric", " to "),
        ("x", [f"{row % 40:05d}" for row in ROWS], "categorical", "leading zeros"),
        ("pclass", [1 + row % 3 for row in ROWS], "categorical", "codes by the name"),
        ("x", range(100_000, 100_000 + N_ROWS), "key", "running numbers 100000 to 100119"),
        ("x", [2 * N_ROWS - row for row in ROWS], "key", "running numbers"),
        ("customer_id", [(100_000 + row) ** 2 for row in ROWS], "key", "in each row, a key by the name"),
        ("x", [10**20 + 7 * row for row in ROWS], "key", "another integer of 21 digits"),
        ("x", [10**17 + row % 5 for row in ROWS], "categorical", "integers of 18 digits"),
        ("x", [f"{row:x}-{row}" for row in ROWS], "key", "another value in each row"),
        ("x", [row * row for row in ROWS], "numeric", "integers 0 to 14161"),
        ("x", [1990 + row // 12 for row in ROWS], "numeric", "integers 1990 to 1999"),
        (
            "x",
            [f"customer {row} wrote about {row}" for row in ROWS],
            "ignored",
            "120 different ones, 5 w",
        ),
        ("x", [f"v{row * 2 // 3}" for row in ROWS], "ignored", "80 different values in 120 rows"),
        ("x", [""] * N_ROWS, "ignored", "no value in any row"),
        ("x", [1] * N_ROWS, "ignored", "'1' in every row"),
        ("x", every(2, "", ["1"] * N_ROWS), "categorical", "50 % missing"),
    ],
)
def test_kind_is_found_from_all_values(
    tmp_path: Path, name: str, values: Iterable[Any], kind: str, why: str
) -> None:
    found = finding(draft(tmp_path, **{name: values}), name)
    assert found.kind == kind
    assert why in found.why


def test_a_column_without_a_name_is_no_feature(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", {"": ROWS, "a": NUMBERS, "y": LABELS})
    assert column(draft_table(path, target="y"), "unnamed_1") == {"kind": "ignored"}
    path.write_text("a,y,\n" + "".join(f"{a},{y},\n" for a, y in zip(NUMBERS, LABELS, strict=True)))
    assert column(draft_table(path, target="y"), "unnamed_3") == {"kind": "ignored"}


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ([f"2024-{1 + row % 12:02d}-{1 + row % 28:02d}" for row in ROWS], "iso"),
        ([f"2024-01-{1 + row % 28:02d}T{row % 24:02d}:00:00Z" for row in ROWS], "iso"),
        ([f"{1 + row % 28:02d}/{1 + row % 12:02d}/2024" for row in ROWS], "%d/%m/%Y"),
        ([f"{1 + row % 12}/{1 + row % 28}/2024" for row in ROWS], "%m/%d/%Y"),
        ([f"{1 + row % 28}.{1 + row % 12}.24 {row % 24:02d}:30" for row in ROWS], "%d.%m.%y %H:%M"),
        ([f"{1 + row % 28:02d}-{('Jan', 'Oct')[row % 2]}-2024" for row in ROWS], "%d-%b-%Y"),
        ([f"2024{1 + row % 12:02d}{1 + row % 28:02d}" for row in ROWS], "%Y%m%d"),
        ([f"{row % 24:02d}:{row % 60:02d}" for row in ROWS], "%H:%M"),
    ],
)
def test_format_of_dates_is_found(tmp_path: Path, values: Sequence[str], form: str) -> None:
    assert column(draft(tmp_path, x=values)) == {"kind": "datetime", "format": form}


SECONDS = [1_700_000_000 + row * 25_200 for row in ROWS]


@pytest.mark.parametrize(
    ("name", "values", "declared", "look"),
    [
        (
            "x",
            [f"{1 + row % 12:02d}/{1 + row % 7:02d}/2024" for row in ROWS],
            {"kind": "datetime", "format": "%d/%m/%Y"},
            "day or month first? All values fit both",
        ),
        ("created_at", SECONDS, {"kind": "datetime", "format": "epoch"}, ""),
        ("x", SECONDS, {"kind": "numeric"}, "seconds since 1970? Then {kind: datetime, format: epoch}"),
        (
            "x",
            every(10, "-999", NUMBERS),
            {"kind": "numeric"},
            '-999 (12 rows; next -6): missing? Then null_values: ["", "-999"], missing: median',
        ),
        (
            "x",
            [("NA", "ZA", "BW")[row % 3] for row in ROWS],
            {"kind": "categorical", "null_values": ()},
            "NA (40 rows) is a value, as all are two capital letters: null_values: []",
        ),
        # What is strange gets a null marker of the column.
        *(
            (
                "x",
                [odd if row == 3 else number for row, number in enumerate(NUMBERS)],
                {"kind": "numeric", "missing": "median", "null_values": ("", odd)},
                f"all numbers but '{odd}' (1 row, first in line 5): read as missing",
            )
            for odd in ("oops", "1e400", "#REF!")
        ),
        (
            "x",
            [f"v{row % 4}" if row % 2 else f"w{row % 110}" for row in ROWS],
            {"kind": "categorical", "min_count": 2},
            "with min_count 2, some 50 % of the rows become 'other'",
        ),
        ("x", COLOURS, {"kind": "categorical"}, ""),
    ],
)
def test_what_deserves_a_look_is_reported(
    tmp_path: Path, name: str, values: Sequence[Any], declared: dict[str, Any], look: str
) -> None:
    drafted = draft(tmp_path, **{name: values})
    assert column(drafted, name) == declared
    assert finding(drafted, name).looks == [look] * bool(look)
    assert finding(drafted, "a").looks == []
    assert drafted.file.null_values == ("",)


def test_null_markers_are_those_that_the_file_uses(tmp_path: Path) -> None:
    drafted = draft(
        tmp_path,
        b=every(7, "-", NUMBERS),
        c=every(9, "unknown", NUMBERS),
        text=every(10, "--", COLOURS),
        date=every(8, "N/A", [f"2024-01-{1 + row % 28:02d}" for row in ROWS]),
        none=["none", "one"] * 60,
    )
    assert drafted.file.null_values == ("", "-", "--", "N/A", "unknown")
    assert column(drafted, "b") == column(drafted, "c") == {"kind": "numeric", "missing": "median"}
    assert column(drafted, "text") == {"kind": "categorical", "missing": "category"}
    assert column(drafted, "date") == {"kind": "datetime", "format": "iso", "missing": "median"}
    assert column(drafted, "none") == {"kind": "categorical"}


def test_a_marker_of_one_column_stays_a_value_of_another(tmp_path: Path) -> None:
    drafted = draft(tmp_path, b=every(7, "-", NUMBERS), sign=["+", "-"] * 60)
    assert column(drafted, "b") == {"kind": "numeric", "missing": "median", "null_values": ("", "-")}
    assert column(drafted, "sign") == {"kind": "categorical"}
    assert drafted.file.null_values == ("",)
    # Where other columns show that the file writes missing values as NA, it is no code of a country.
    countries = [("NA", "ZA", "BW")[row % 3] for row in ROWS]
    drafted = draft(tmp_path, x=countries, b=every(5, "NA", NUMBERS))
    assert column(drafted) == {"kind": "categorical", "missing": "category"}
    assert drafted.file.null_values == ("", "NA")


def test_columns_that_give_the_target_away_are_reported(tmp_path: Path) -> None:
    drafted = draft(
        tmp_path,
        copy=[label[0].upper() for label in LABELS],
        score=[0.9 if label == "yes" else 0.1 for label in LABELS],
        # Of many different numbers, where one end is one class.
        amount=[f"{row + (1000 if label == 'yes' else 0)}.5" for row, label in enumerate(LABELS)],
        honest=COLOURS,
    )
    for name in ("copy", "score"):
        assert finding(drafted, name).looks[0].startswith("GIVES THE TARGET AWAY: right alone in 100 %")
    assert "right alone in" in finding(drafted, "amount").looks[0]
    assert finding(drafted, "a").looks == finding(drafted, "honest").looks == []


def test_a_group_of_0_1_columns_is_one_category(tmp_path: Path) -> None:
    group = {f"soil_{part}": [int(row % 3 == part) for row in ROWS] for part in range(3)}
    free = {f"flag{part}": [int(row % (part + 2) == 0) for row in ROWS] for part in range(3)}
    drafted = draft(tmp_path, **group, **free)
    assert column(drafted, "soil") == {"kind": "categorical", "one_hot": {name: name for name in group}}
    assert [found.name for found in drafted.columns] == ["a", "soil", *free]
    assert [finding(drafted, name).kind for name in free] == ["numeric"] * 3


def test_several_files_are_one_table(tmp_path: Path) -> None:
    for part in range(3):
        rows = slice(part * 40, (part + 1) * 40)
        odd = ["oops" if row == 50 else value for row, value in enumerate(NUMBERS)]
        write(tmp_path / f"p{part}.csv", {"a": NUMBERS[rows], "x": odd[rows], "y": LABELS[rows]})
    drafted = draft_table(tmp_path / "p*.csv", target="y")
    assert (len(drafted.files), drafted.n_rows) == (3, N_ROWS)
    assert "line 12" in finding(drafted).looks[0]
    write(tmp_path / "p3.csv", {"b": NUMBERS, "x": NUMBERS, "y": LABELS})
    with pytest.raises(ValueError, match=r"p3.csv must have the columns of .*p0.csv; got 'a' in one"):
        draft_table(tmp_path / "p*.csv", target="y")


@pytest.mark.parametrize(
    ("labels", "declared", "look"),
    [
        (every(12, "", LABELS), {"missing": "drop"}, "10 rows without a label: dropped"),
        (["rare", *LABELS[1:]], {"rare": "drop"}, "are dropped: 'rare' (1 row)"),
        (["r", "r", "s", "s", *LABELS[4:]], {"rare": "merge"}, "are merged into one: 'r', 's' (4 rows)"),
        # Numbers are in their order.
        ([8 + row * row % 5 for row in ROWS], {"classes": {"8": "8", "9": "9", "12": "12"}}, ""),
    ],
)
def test_target_gets_its_policies(
    tmp_path: Path, labels: list[Any], declared: dict[str, Any], look: str
) -> None:
    drafted = draft(tmp_path, labels=labels)
    assert {"column": "y", **declared}.items() <= drafted.table["target"].items()
    assert [*drafted.table["target"].get("classes", ())] == [*declared.get("classes", ("no", "yes"))] * (
        "rare" not in declared
    )
    assert look in "".join(drafted.target.looks)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must hold a header and rows; got an empty file"),
        ("a,b,y\n", "must hold rows below its header; got none"),
        ("a,a,y\n1,2,u\n", "must name each column once; got 'a' twice"),
        ("a,y\n1,u\n2,v\n", r"two classes with 3 rows each.* got in 'y': 'u' \(1 row\), 'v' \(1 row\)$"),
        ("a,y\n" + "1,u\n2,u\n" * 30, r"at least two classes .*: 'u' \(60 rows\)$"),
        ("a,y\n" + "1,\n" * 30, "--target must have a value in some rows; got none in 'y'"),
        (
            "a,y\n" + "1,u\n" * 5 + "1,u,extra\n1\n",
            r"each line must have as many values .* in line 7, .* in line 8\n.*ragged=drop",
        ),
        ("a,yy\n1,u\n", r"--target must be a column of .*t.csv; got 'y' \(did you mean 'yy'\?\)"),
        ("a,b\n1,u\n", "got 'y'; the columns are 'a', 'b'$"),
        ("1.5,2,u\n1.5,2,v\n", "\nThe file seems to have no header: write one as its first line"),
        ("a,y\n" + "".join(f"1,{n}.5\n" for n in range(90)), "got 90 different numbers .*\nRegression"),
        ("a,y\n" + "".join(f"1,n{n}\n" for n in range(90)), "classes that repeat; got 90 values in 90 rows"),
        ("a,y\n" + "1,u\n1,v\n" * 9, "must have a feature besides 'y'; .*\na: '1' in every row"),
        ("a,y\n1,2,u\n1,2,v\n", "got 2 names and mostly 3 values: name the first column too"),
        ("# of 2024\na,b,y\n1,2,u\n1,2,v\n", "got 1 name and mostly 3 values: remove lines before"),
        ("y\nu\nv\n", "must have at least two columns"),
    ],
)
def test_a_table_that_cannot_be_drafted_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        draft_table(tmp_path / "t.csv", target="y")
    assert len(str(caught.value).splitlines()) <= 3


def test_printout_has_one_line_for_each_column(tmp_path: Path) -> None:
    drafted = draft(tmp_path, colour=COLOURS, odd=every(10, "-999", NUMBERS), line=["two\nlines", "one"] * 60)
    lines = describe(drafted).splitlines()
    assert lines[0].endswith("t.csv: 120 rows, 5 columns, csv, delimiter ','")
    assert [line[:23].rstrip() for line in lines[1:]] == [
        "  y       target",
        "  a       numeric",
        "  colour  categorical",
        "! odd     numeric",
        "  line    categorical",
    ]
    assert lines[3].endswith("3 values: 'blue', 'green', 'red'")
    assert isinstance(drafted.schema, TableSchema)

"""Drafting a schema: the kinds of its columns, its target, and what is printed."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from canopy.schema import TableSchema
from canopy.tables.draft.draft import draft_table
from canopy.tables.draft.wording import describe
from canopy.tables.rows import read_table
from drafted import COLOURS, LABELS, N_ROWS, NUMBERS, column, draft, every, finding, write


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (NUMBERS, "numeric"),
        (COLOURS, "categorical"),
        (["True", "False"] * 60, "categorical"),
        (["yes", "no"] * 60, "categorical"),
        (["t", "f"] * 60, "categorical"),
        ([1, 0] * 60, "numeric"),
        (every(4, "-0.0", NUMBERS), "numeric"),
        ([f"{row % 40:05d}" for row in range(N_ROWS)], "categorical"),
        (range(N_ROWS), "key"),
        ([2 * N_ROWS - row for row in range(N_ROWS)], "key"),
        ([10**20 + 7 * row for row in range(N_ROWS)], "key"),
        ([10**17 + row % 5 for row in range(N_ROWS)], "categorical"),
        ([f"{row:x}-{row}" for row in range(N_ROWS)], "key"),
        ([row * row for row in range(N_ROWS)], "numeric"),
        ([1990 + row // 12 for row in range(N_ROWS)], "numeric"),
        ([f"customer {row} wrote about {row}" for row in range(N_ROWS)], "ignored"),
        ([f"v{row * 2 // 3}" for row in range(N_ROWS)], "ignored"),
        ([""] * N_ROWS, "ignored"),
        ([1] * N_ROWS, "ignored"),
        (every(2, "", ["1"] * N_ROWS), "categorical"),
    ],
)
def test_kind_is_found_from_all_values(tmp_path: Path, values: Iterable[Any], kind: str) -> None:
    assert finding(draft(tmp_path, x=values)).kind == kind


def test_reasons_name_what_makes_a_column_useless_or_a_key(tmp_path: Path) -> None:
    numbers = [100_000 + row for row in range(N_ROWS)]
    drafted = draft(
        tmp_path,
        constant=[1] * N_ROWS,
        empty=[""] * N_ROWS,
        number=numbers,
        customer_id=[number**2 for number in numbers],
        zip=[f"{row % 40:05d}" for row in range(N_ROWS)],
        pclass=[1 + row % 3 for row in range(N_ROWS)],
        text=[f"customer {row} wrote about {row}" for row in range(N_ROWS)],
    )
    for name, why in {
        "constant": "'1' in every row",
        "empty": "no value in any row",
        "number": "running numbers 100000 to 100119",
        "customer_id": "another integer in each row, a key by the name",
        "zip": "leading zeros",
        "pclass": "codes by the name",
        "text": "free text: 120 different ones, 5 words",
    }.items():
        assert why in finding(drafted, name).why


def test_a_column_without_a_name_is_no_feature(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", {"": range(N_ROWS), "a": NUMBERS, "y": LABELS})
    assert column(draft_table(path, target="y"), "unnamed_1") == {"kind": "ignored"}
    text = "a,y,\n" + "".join(f"{a},{y},\n" for a, y in zip(NUMBERS, LABELS, strict=True))
    path.write_text(text)
    assert column(draft_table(path, target="y"), "unnamed_3") == {"kind": "ignored"}


def test_text_after_many_numbers_makes_a_category(tmp_path: Path) -> None:
    n_rows = 30_000
    path = tmp_path / "t.csv"
    rows = [
        f"{'x' if row > 25_000 else ''}{row % 50},{row % 997 / 7:.3f},{'uv'[row % 2]}\n"
        for row in range(n_rows)
    ]
    path.write_text("code,a,y\n" + "".join(rows))
    drafted = draft_table(path, target="y")
    assert finding(drafted, "code").kind == "categorical"
    assert "100 values" in finding(drafted, "code").why
    assert sum(batch["code"].null_count for batch in read_table(path, drafted.schema)) == 0


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ([f"2024-{1 + row % 12:02d}-{1 + row % 28:02d}" for row in range(N_ROWS)], "iso"),
        ([f"2024-01-{1 + row % 28:02d}T{row % 24:02d}:00:00Z" for row in range(N_ROWS)], "iso"),
        ([f"{1 + row % 28:02d}/{1 + row % 12:02d}/2024" for row in range(N_ROWS)], "%d/%m/%Y"),
        ([f"{1 + row % 12}/{1 + row % 28}/2024" for row in range(N_ROWS)], "%m/%d/%Y"),
        ([f"{1 + row % 28}.{1 + row % 12}.24 {row % 24:02d}:30" for row in range(N_ROWS)], "%d.%m.%y %H:%M"),
        ([f"{1 + row % 28:02d}-{('Jan', 'Oct')[row % 2]}-2024" for row in range(N_ROWS)], "%d-%b-%Y"),
        ([f"2024{1 + row % 12:02d}{1 + row % 28:02d}" for row in range(N_ROWS)], "%Y%m%d"),
        ([f"{row % 24:02d}:{row % 60:02d}" for row in range(N_ROWS)], "%H:%M"),
    ],
)
def test_format_of_dates_is_found(tmp_path: Path, values: Sequence[str], form: str) -> None:
    assert column(draft(tmp_path, x=values)) == {"kind": "datetime", "format": form}


def test_dates_that_fit_day_and_month_first_are_reported(tmp_path: Path) -> None:
    drafted = draft(tmp_path, x=[f"{1 + row % 12:02d}/{1 + row % 7:02d}/2024" for row in range(N_ROWS)])
    assert column(drafted)["format"] == "%d/%m/%Y"
    assert finding(drafted).looks == ["day or month first? All values fit both"]


def test_epoch_seconds_are_times_if_the_name_says_so(tmp_path: Path) -> None:
    seconds = [1_700_000_000 + row * 25_200 for row in range(N_ROWS)]
    drafted = draft(tmp_path, created_at=seconds, x=seconds)
    assert column(drafted, "created_at") == {"kind": "datetime", "format": "epoch"}
    assert column(drafted) == {"kind": "numeric"}
    assert finding(drafted).looks == ["seconds since 1970? Then {kind: datetime, format: epoch}"]


def test_namibia_is_a_country(tmp_path: Path) -> None:
    drafted = draft(tmp_path, x=[("NA", "ZA", "BW")[row % 3] for row in range(N_ROWS)])
    assert column(drafted) == {"kind": "categorical", "null_values": ()}
    assert finding(drafted).looks == [
        "NA (40 rows) is a value, as all are two capital letters: null_values: []"
    ]
    # Where other columns show that the file writes missing values so, it is none.
    drafted = draft(
        tmp_path, x=[("NA", "ZA", "BW")[row % 3] for row in range(N_ROWS)], b=every(5, "NA", NUMBERS)
    )
    assert column(drafted) == {"kind": "categorical", "missing": "category"}
    assert drafted.file.null_values == ("", "NA")


def test_null_markers_are_those_that_the_file_uses(tmp_path: Path) -> None:
    drafted = draft(
        tmp_path,
        b=every(7, "-", NUMBERS),
        c=every(9, "unknown", NUMBERS),
        text=every(10, "--", COLOURS),
        date=every(8, "N/A", [f"2024-01-{1 + row % 28:02d}" for row in range(N_ROWS)]),
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


@pytest.mark.parametrize("odd", ["oops", "1e400", "#REF!"])
def test_a_few_texts_among_numbers_are_reported_with_their_line(tmp_path: Path, odd: str) -> None:
    drafted = draft(tmp_path, x=[odd if row == 3 else NUMBERS[row] for row in range(N_ROWS)])
    assert column(drafted) == {"kind": "numeric", "missing": "median", "null_values": ("", odd)}
    assert finding(drafted).looks == [f"all numbers but '{odd}' (1 row, first in line 5): read as missing"]
    assert drafted.file.null_values == ("",)


def test_a_number_that_may_mean_missing_is_reported_with_its_declaration(tmp_path: Path) -> None:
    drafted = draft(tmp_path, x=every(10, "-999", NUMBERS))
    assert column(drafted) == {"kind": "numeric"}
    assert finding(drafted).looks == [
        '-999 (12 rows; next -6): missing? Then null_values: ["", "-999"], missing: median'
    ]
    assert finding(drafted, "a").looks == []


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


def test_rare_values_of_many_become_other(tmp_path: Path) -> None:
    drafted = draft(tmp_path, x=[f"v{row % 4}" if row % 2 else f"w{row % 110}" for row in range(N_ROWS)])
    assert column(drafted) == {"kind": "categorical", "min_count": 2}
    assert "become 'other'" in finding(drafted).looks[0]


def test_a_group_of_0_1_columns_is_one_category(tmp_path: Path) -> None:
    group = {f"soil_{part}": [int(row % 3 == part) for row in range(N_ROWS)] for part in range(3)}
    free = {f"flag{part}": [int(row % (part + 2) == 0) for row in range(N_ROWS)] for part in range(3)}
    drafted = draft(tmp_path, **group, **free)
    assert column(drafted, "soil") == {"kind": "categorical", "one_hot": {name: name for name in group}}
    assert [finding(drafted, name).kind for name in free] == ["numeric"] * 3


def test_odd_names_are_kept(tmp_path: Path) -> None:
    names = ["${x}", "a.b", "a b", "Größe", "A", 'qu"ote', "split", "target", "class", "select"]
    drafted = draft(tmp_path, **dict.fromkeys(names, NUMBERS))
    assert drafted.schema.features == ["a", *names]


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


def test_rows_without_a_label_are_dropped(tmp_path: Path) -> None:
    drafted = draft(tmp_path, labels=every(12, "", LABELS))
    assert drafted.table["target"]["missing"] == "drop"
    assert drafted.target.looks == ["10 rows without a label: dropped"]


@pytest.mark.parametrize(("n_rare", "policy"), [(1, "drop"), (4, "merge")])
def test_rare_classes_are_dropped_or_merged(tmp_path: Path, n_rare: int, policy: str) -> None:
    rare = [f"rare {row // 2}" for row in range(n_rare)]
    drafted = draft(tmp_path, labels=[*rare, *LABELS[n_rare:]])
    assert drafted.table["target"] == {"column": "y", "rare": policy}
    assert f"({n_rare} row" in drafted.target.looks[0]


def test_few_numbers_are_classes_in_their_order(tmp_path: Path) -> None:
    drafted = draft(tmp_path, labels=[8 + row * row % 5 for row in range(N_ROWS)])
    assert [*drafted.table["target"]["classes"]] == ["8", "9", "12"]


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

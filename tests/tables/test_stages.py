"""Odd tables go from their file through the draft and the stages to tensors, nothing corrected."""

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from canopy.files import PREPROCESSOR_FILE, SPLITS
from canopy.params import check_params, load_params
from canopy.prepare import cap_classes, drop_columns, make_tensors, normalize, split
from canopy.prepare.preprocessor import Preprocessor
from canopy.schema.tensors import SCHEMA_FILE, Schema
from canopy.tables.draft.data_set import write_data_set
from canopy.tables.draft.draft import draft_table
from canopy.tables.rows import read_table
from drafted import every, write

N_ROWS = 400
RANDOM = random.Random(0)
A, B = ([round(RANDOM.gauss(0, 1), 4) for _ in range(N_ROWS)] for _ in range(2))
KIND = [RANDOM.choice(["red", "green", "blue"]) for _ in range(N_ROWS)]
Y = ["yes" if a + b + (kind == "red") > 0.3 else "no" for a, b, kind in zip(A, B, KIND, strict=True)]
BASE = {"a": A, "b": B, "kind": KIND, "y": Y}
COLOURS = ("blue", "green", "red")
NAMES = ["${x}", "a.b", "a b", "Größe", "A", "a", "target", "class"]
TEXT_NAMES = ['qu"ote', "split", "select"]


class Case(NamedTuple):
    """A table, and the features, classes and rows in all splits that it must become."""

    columns: Mapping[str, Iterable[Any]]
    numeric: Iterable[str] = ("a", "b")
    categories: Mapping[str, Sequence[str]] = {"kind": COLOURS}
    classes: tuple[str, ...] = ("no", "yes")
    n_rows: int = N_ROWS
    encoding: str = "utf-8"


def prepare(path: Path, monkeypatch: pytest.MonkeyPatch) -> Schema:
    """Draft a table and run the stages in its folder."""
    folder = path.parent / "datasets/x"
    write_data_set(draft_table(path, target="y"), folder)
    monkeypatch.chdir(folder)
    params = check_params(load_params())
    for stage in (drop_columns, split, normalize, cap_classes, make_tensors):
        stage.run(params)
    return Schema.load(Path("data/processed") / SCHEMA_FILE)


def count_rows(schema: Schema) -> int:
    return sum(sum(schema.class_counts[name]) for name in SPLITS)


def by_kind(*values: Any) -> list[Any]:
    return [dict(zip(("red", "green", "blue"), values, strict=True))[kind] for kind in KIND]


def times(hours: int, form: str) -> list[str]:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return [(start + timedelta(hours=hours * row)).strftime(form) for row in range(N_ROWS)]


CLOCK = ("month_sin", "month_cos", "day_of_week_sin", "day_of_week_cos", "hour_sin", "hour_cos", "time")
DAYS = ("year", *(part for part in CLOCK if not part.startswith("hour")))

CASES = {
    "base.csv.gz": Case(BASE),
    "bom.csv": Case(BASE, encoding="utf-8-sig"),
    "latin1.csv": Case(
        {"a": A, "Straße": by_kind("Überweg", "Allee", "Gäßchen"), "y": Y},
        ["a"],
        {"Straße": ("Allee", "Gäßchen", "Überweg")},
        encoding="latin-1",
    ),
    "blanks.csv": Case(
        {
            "a": A,
            " b": [f" {value}" for value in B],
            " kind": [f" {kind}" for kind in every(11, "?", KIND)],
            " y": [f" {label}." for label in Y],
        },
        categories={"kind": (*COLOURS, "missing")},
        classes=("no.", "yes."),
    ),
    "kinds.csv": Case(
        {
            "customer_id": range(100_000, 100_000 + N_ROWS),
            "zip": [f"{row * 7 % 10:05d}" for row in range(N_ROWS)],
            "row": range(N_ROWS),
            "constant": [1] * N_ROWS,
            "empty": [""] * N_ROWS,
            "text": [f"customer {row} wrote about {kind} and {row * 7}" for row, kind in enumerate(KIND)],
            "pclass": by_kind(1, 2, 3),
            "country": by_kind("NA", "ZA", "BW"),
            "t": by_kind("True", "False", "False"),
            "w": by_kind(1, 0, 0),
            "a": every(10, -999, A),
            "y": Y,
        },
        ["w", "a"],
        {
            "zip": [f"{digit:05d}" for digit in range(10)],
            "pclass": ("1", "2", "3"),
            "country": ("BW", "NA", "ZA"),
            "t": ("False", "True"),
        },
    ),
    "dates.csv": Case(
        {
            "when": times(7, "%Y-%m-%dT%H:%M:%SZ"),
            "day": times(24, "%Y-%m-%d"),
            "day_first": times(24, "%d/%m/%Y"),
            "epoch": [1_704_067_200 + 25_200 * row for row in range(N_ROWS)],
            "a": A,
            "y": Y,
        },
        [
            "a",
            *(f"{name}.{part}" for name in ("when", "epoch") for part in CLOCK),
            *(f"{name}.{part}" for name in ("day", "day_first") for part in DAYS),
        ],
        {},
    ),
    "label_gaps.csv": Case({**BASE, "y": every(17, "", Y)}, n_rows=N_ROWS - len(range(0, N_ROWS, 17))),
    "odd_names.csv": Case(
        {**dict.fromkeys(NAMES, A), **dict.fromkeys(TEXT_NAMES, KIND), "y": Y},
        NAMES,
        dict.fromkeys(TEXT_NAMES, COLOURS),
    ),
    "rare_class.csv": Case({**BASE, "y": [*Y[:5], "rare", *Y[6:]]}, n_rows=N_ROWS - 1),
    "unnamed_index.csv": Case({"": range(N_ROWS), **BASE}),
    # What is no number becomes a missing value, with a remark that names its line.
    "infinite.csv": Case(
        {**BASE, "a": [*A[:3], "1e400", "-0.0", *A[5:]]},
        categories={"kind": COLOURS, "a (missing)": ("no", "yes")},
    ),
    # Indicators that somebody added already stay features next to ours.
    "indicators.csv": Case(
        {
            "a": every(7, "", A),
            "a_missing": [int(row % 7 == 0) for row in range(N_ROWS)],
            "a_missing_": KIND,
            "y": Y,
        },
        ["a", "a_missing"],
        {"a_missing_": COLOURS, "a (missing)": ("no", "yes")},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_drafted_table_becomes_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    case = CASES[name]
    schema = prepare(write(tmp_path / name, case.columns, encoding=case.encoding), monkeypatch)
    assert {*schema.numeric} == {*case.numeric}
    found = {feature.name: feature.categories for feature in schema.categorical}
    assert found == {feature: tuple(values) for feature, values in case.categories.items()}
    assert schema.class_names == case.classes
    assert count_rows(schema) == case.n_rows


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_quoted_line_breaks_survive_the_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    notes = by_kind(f"a{end}b", f"c{end}{end}d", "plain")
    # Many line breaks lie where one block ends that a stage reads, and the next one starts.
    columns = {"a": A * 150, "note": notes * 150, "b": B * 150, "y": Y * 150}
    schema = prepare(write(tmp_path / "t.csv", columns, lineterminator=end), monkeypatch)
    assert {*schema.categorical[0].categories} == {*notes}
    assert count_rows(schema) == 60_000


def test_files_stay_small_with_many_categories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"name_{RANDOM.randrange(2000):04d}" for _ in range(5200)]
    schema = prepare(write(tmp_path / "t.csv", {"a": A * 13, "name": names, "y": Y * 13}), monkeypatch)
    assert len(schema.categorical[0].categories) > 500
    assert max(file.stat().st_size for file in Path("data").rglob("*.*")) < 2_000_000


def test_late_text_is_a_category(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = [row % 50 if row < 30_000 else f"x{row % 50}" for row in range(40_000)]
    schema = prepare(write(tmp_path / "t.csv", {"code": codes, "a": A * 100, "y": Y * 100}), monkeypatch)
    assert len(schema.categorical[0].categories) == 100


def test_integers_written_as_floats_are_the_same_categories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "t.csv", {"a": A, "pclass": by_kind(1, 2, 3), "y": Y})
    prepare(path, monkeypatch)
    schema = draft_table(path, target="y").schema
    floats = write(tmp_path / "floats.csv", {"a": A, "pclass": by_kind("1.0", "2.0", "3"), "y": Y})
    preprocessor = Preprocessor.load(Path("data/processed") / PREPROCESSOR_FILE)
    encoded = [
        preprocessor.transform(batch).categorical.tolist()
        for file in (path, floats)
        for batch in read_table(file, schema)
    ]
    assert encoded[0] == encoded[1]

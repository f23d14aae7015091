"""Odd tables go from their file through the draft and the stages to tensors, nothing corrected."""

import csv
import gzip
import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from canopy.files import PREPROCESSOR_FILE
from canopy.params import check_params, load_params
from canopy.prepare import cap_classes, drop_columns, make_tensors, normalize, split
from canopy.prepare.preprocessor import Preprocessor
from canopy.schema.tensors import SCHEMA_FILE, Schema
from canopy.tables.draft.data_set import write_data_set
from canopy.tables.draft.draft import draft_table
from canopy.tables.rows import read_table

STAGES = (drop_columns, split, normalize, cap_classes, make_tensors)
N_ROWS = 400
RANDOM = random.Random(0)
A, B = ([round(RANDOM.gauss(0, 1), 4) for _ in range(N_ROWS)] for _ in range(2))
KIND = [RANDOM.choice(["red", "green", "blue"]) for _ in range(N_ROWS)]
Y = ["yes" if a + b + (kind == "red") > 0.3 else "no" for a, b, kind in zip(A, B, KIND, strict=True)]
COLOURS = ("blue", "green", "red")
START = datetime(2024, 1, 1, tzinfo=UTC)


class Case(NamedTuple):
    """A table, and what it must become.

    Attributes:
        columns: Values of each column.
        numeric: Names of the numeric features.
        categories: Categories of each categorical feature.
        classes: Names of the classes.
        n_rows: Number of rows in all splits.
        options: How the file is written.
    """

    columns: Sequence[tuple[str, Iterable[Any]]]
    numeric: set[str] = frozenset({"a", "b"})  # type: ignore[assignment]
    categories: dict[str, tuple[str, ...]] = {"kind": COLOURS}  # noqa: RUF012 - read only
    classes: tuple[str, ...] = ("no", "yes")
    n_rows: int = N_ROWS
    options: dict[str, Any] = {}  # noqa: RUF012 - read only


def write(path: Path, columns: Sequence[tuple[str, Iterable[Any]]], **options: Any) -> Path:
    encoding = options.pop("encoding", "utf-8")
    packed = path.suffix == ".gz"
    with (
        gzip.open(path, "wt", newline="") if packed else path.open("w", newline="", encoding=encoding) as file
    ):
        writer = csv.writer(file, **{"lineterminator": "\n", **options})
        writer.writerow([name for name, _ in columns])
        writer.writerows(zip(*(values for _, values in columns), strict=True))
    return path


def prepare(path: Path, monkeypatch: pytest.MonkeyPatch) -> Schema:
    """Draft a table and run the stages in its folder."""
    folder = path.parent / "datasets/x"
    write_data_set(draft_table(path, target="y"), folder)
    monkeypatch.chdir(folder)
    params = check_params(load_params())
    for stage in STAGES:
        stage.run(params)
    return Schema.load(Path("data/processed") / SCHEMA_FILE)


def by_kind(*values: Any) -> list[Any]:
    return [dict(zip(("red", "green", "blue"), values, strict=True))[kind] for kind in KIND]


def german(values: Iterable[float]) -> list[str]:
    marks = str.maketrans(",.", ".,")
    return [f"{value * 1000:,.2f}".translate(marks) for value in values]


def every(n: int, value: Any, values: Sequence[Any]) -> list[Any]:
    return [value if row % n == 0 else found for row, found in enumerate(values)]


def hours(step: int) -> list[datetime]:
    return [START + timedelta(hours=step * row) for row in range(N_ROWS)]


BASE = [("a", A), ("b", B), ("kind", KIND), ("y", Y)]
PARTS = {"year", "month_sin", "month_cos", "day_of_week_sin", "day_of_week_cos", "time"}
CLOCK = {"month_sin", "month_cos", "day_of_week_sin", "day_of_week_cos", "hour_sin", "hour_cos", "time"}

CASES = {
    "base.csv": Case(BASE),
    "base.csv.gz": Case(BASE),
    "bom.csv": Case(BASE, options={"encoding": "utf-8-sig"}),
    "integer_category.csv": Case(
        [("a", A), ("pclass", by_kind(1, 2, 3)), ("y", Y)], {"a"}, {"pclass": ("1", "2", "3")}
    ),
    "namibia.csv": Case(
        [("a", A), ("country", by_kind("NA", "ZA", "BW")), ("y", Y)], {"a"}, {"country": ("BW", "NA", "ZA")}
    ),
    "latin1.csv": Case(
        [("a", A), ("Straße", by_kind("Überweg", "Allee", "Gäßchen")), ("y", Y)],
        {"a"},
        {"Straße": ("Allee", "Gäßchen", "Überweg")},
        options={"encoding": "latin-1"},
    ),
    "blanks.csv": Case(
        [
            ("a", A),
            (" b", [f" {value}" for value in B]),
            (" kind", [f" {kind}" for kind in every(11, "?", KIND)]),
            (" y", [f" {label}." for label in Y]),
        ],
        categories={"kind": (*COLOURS, "missing")},
        classes=("no.", "yes."),
    ),
    "codes.csv": Case(
        [
            ("customer_id", range(100_000, 100_000 + N_ROWS)),
            ("zip", [f"{row * 7 % 10:05d}" for row in range(N_ROWS)]),
            ("row", range(N_ROWS)),
            ("a", A),
            ("y", Y),
        ],
        {"a"},
        {"zip": tuple(f"{digit:05d}" for digit in range(10))},
    ),
    "dates.csv": Case(
        [
            ("when", [f"{time:%Y-%m-%dT%H:%M:%S}Z" for time in hours(7)]),
            ("day", [time.date() for time in hours(24)]),
            ("day_first", [f"{time:%d/%m/%Y}" for time in hours(24)]),
            ("epoch", [int(time.timestamp()) for time in hours(7)]),
            ("a", A),
            ("y", Y),
        ],
        {"a"}
        | {f"{name}.{part}" for name in ("when", "epoch") for part in CLOCK}
        | {f"{name}.{part}" for name in ("day", "day_first") for part in PARTS},
        {},
    ),
    "booleans.csv": Case(
        [
            ("t", by_kind("True", "False", "False")),
            ("u", by_kind("yes", "no", "no")),
            ("v", by_kind("t", "f", "f")),
            ("w", by_kind(1, 0, 0)),
            ("a", A),
            ("y", Y),
        ],
        {"a", "w"},
        {"t": ("False", "True"), "u": ("no", "yes"), "v": ("f", "t")},
    ),
    "label_gaps.csv": Case([*BASE[:3], ("y", every(17, "", Y))], n_rows=N_ROWS - len(range(0, N_ROWS, 17))),
    "rare_class.csv": Case([*BASE[:3], ("y", [*Y[:5], "rare", *Y[6:]])], n_rows=N_ROWS - 1),
    "constant_and_empty.csv": Case(
        [BASE[0], ("constant", [1] * N_ROWS), ("empty", [""] * N_ROWS), *BASE[1:]]
    ),
    "unnamed_index.csv": Case([("", range(N_ROWS)), *BASE]),
    "trailing_comma.csv": Case([*BASE, ("", [""] * N_ROWS)]),
    # What is no number becomes a missing value, with a remark that names its line.
    "infinite.csv": Case(
        [("a", [*A[:3], "1e400", "-0.0", *A[5:]]), *BASE[1:]],
        categories={"kind": COLOURS, "a (missing)": ("no", "yes")},
    ),
    # Indicators that somebody added already stay features next to ours.
    "indicators.csv": Case(
        [
            ("a", every(7, "", A)),
            ("a_missing", [int(row % 7 == 0) for row in range(N_ROWS)]),
            ("a_missing_", KIND),
            ("y", Y),
        ],
        {"a", "a_missing"},
        {"a_missing_": COLOURS, "a (missing)": ("no", "yes")},
    ),
    "sentinel.csv": Case([("a", every(10, -999, A)), *BASE[1:]]),
    "leak.csv": Case(
        [("a", A), ("copy", [{"yes": "Y", "no": "N"}[label] for label in Y]), ("y", Y)],
        {"a"},
        {"copy": ("N", "Y")},
    ),
    "free_text.csv": Case(
        [
            ("text", [f"customer {row} wrote about {kind} and {row * 7}" for row, kind in enumerate(KIND)]),
            *BASE,
        ]
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_drafted_table_becomes_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    case = CASES[name]
    schema = prepare(write(tmp_path / name, case.columns, **case.options), monkeypatch)
    assert {*schema.numeric} == {*case.numeric}
    assert {feature.name: feature.categories for feature in schema.categorical} == case.categories
    assert schema.class_names == case.classes
    assert sum(sum(schema.class_counts[split]) for split in ("train", "val", "test")) == case.n_rows


@pytest.mark.parametrize(
    ("columns", "delimiter", "expected"),
    [
        ({"a": german(A), "b": german(B)}, ";", {"a": [1000 * a for a in A], "b": [1000 * b for b in B]}),
        (
            {
                "a": [text.replace(".", "\u202f") for text in german(A)],
                "b": [str(b).replace(".", ",") for b in B],
            },
            ";",
            {"a": [1000 * a for a in A], "b": B},
        ),
        ({"a": [f"{a * 1000:,.0f}" for a in A], "b": B}, ",", {"a": [round(1000 * a) for a in A], "b": B}),
        (
            {"a": [f"{a:.1f}%" for a in A], "b": [f"${abs(b) * 1000:,.2f}" for b in B]},
            ",",
            {"a": [float(f"{a:.1f}") for a in A], "b": [abs(b) * 1000 for b in B]},
        ),
    ],
    ids=["german", "french", "thousands", "percent and money"],
)
def test_numbers_of_other_places_get_their_values(
    tmp_path: Path, columns: dict[str, Any], delimiter: str, expected: dict[str, list[float]]
) -> None:
    path = write(tmp_path / "t.csv", [*columns.items(), ("y", Y)], delimiter=delimiter)
    batches = [*read_table(path, draft_table(path, target="y").schema)]
    for name, values in expected.items():
        found = [value for batch in batches for value in batch[name].to_pylist()]
        assert found == pytest.approx(values)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_quoted_line_breaks_survive_the_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    notes = by_kind(f"a{end}b", f"c{end}{end}d", "plain")
    # Many line breaks lie where one block ends that a stage reads, and the next one starts.
    columns = [("a", A * 150), ("note", notes * 150), ("b", B * 150), ("y", Y * 150)]
    schema = prepare(write(tmp_path / "t.csv", columns, lineterminator=end), monkeypatch)
    assert {*schema.categorical[0].categories} == {*notes}
    assert sum(sum(schema.class_counts[split]) for split in ("train", "val", "test")) == 60_000


def test_every_name_survives_the_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = ["${x}", "a.b", "a b", "Größe", "A", "a", "target", "class"]
    categories = ['qu"ote', "split", "select"]
    columns: list[tuple[str, Any]] = [(name, A if index % 2 else B) for index, name in enumerate(numbers)]
    columns += [(name, KIND) for name in categories]
    schema = prepare(write(tmp_path / "t.csv", [*columns, ("y", Y)]), monkeypatch)
    assert [*schema.numeric] == numbers
    assert [feature.name for feature in schema.categorical] == categories


def test_files_stay_small_with_many_categories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"name_{RANDOM.randrange(2000):04d}" for _ in range(5200)]
    path = write(tmp_path / "t.csv", [("a", A * 13), ("name", names), ("y", Y * 13)])
    schema = prepare(path, monkeypatch)
    assert len(schema.categorical[0].categories) > 500
    written = [file for file in Path("data").rglob("*") if file.is_file()]
    assert max(file.stat().st_size for file in written) < 2_000_000


def test_late_text_is_a_category(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = [row % 50 if row < 30_000 else f"x{row % 50}" for row in range(40_000)]
    schema = prepare(
        write(tmp_path / "t.csv", [("code", codes), ("a", A * 100), ("y", Y * 100)]), monkeypatch
    )
    assert len(schema.categorical[0].categories) == 100


def test_integers_written_as_floats_are_the_same_categories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "t.csv", [("a", A), ("pclass", by_kind(1, 2, 3)), ("y", Y)])
    prepare(path, monkeypatch)
    schema = draft_table(path, target="y").schema
    floats = write(tmp_path / "floats.csv", [("a", A), ("pclass", by_kind("1.0", "2.0", "3")), ("y", Y)])
    preprocessor = Preprocessor.load(Path("data/processed") / PREPROCESSOR_FILE)
    encoded = [
        preprocessor.transform(batch).categorical.tolist()
        for file in (path, floats)
        for batch in read_table(file, schema)
    ]
    assert encoded[0] == encoded[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "must hold a header and rows; got an empty file"),
        (lambda text: text.partition("\n")[0] + "\n", "must hold rows below its header; got none"),
        (lambda text: "".join(text.splitlines(keepends=True)[:3]), "must have"),
        (lambda text: text.replace("no", "yes"), "must have at least two classes with 3 rows each"),
        (lambda text: text.replace("a,b", "a,a", 1), "must name each column once; got 'a' twice"),
        (
            lambda text: text.replace(",red,", ",red,x,", 1),
            "must have as many values as the header has names",
        ),
    ],
    ids=["empty", "header only", "two rows", "one class", "duplicate header", "ragged"],
)
def test_what_cannot_be_prepared_is_refused_in_few_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str], message: str
) -> None:
    path = write(tmp_path / "t.csv", BASE)
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message) as error:
        prepare(path, monkeypatch)
    assert str(error.value).count("\n") < 3

"""Odd tables go from their file through the draft and the stages to tensors, nothing corrected."""

import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from canopy.files import SPLITS
from canopy.params import check_params, load_params
from canopy.prepare import cap_classes, drop_columns, make_tensors, normalize, split
from canopy.schema.tensors import SCHEMA_FILE, Schema
from canopy.tables.draft.draft import draft_table, write_data_set
from drafted import every, write

N_ROWS = 400
RANDOM = random.Random(0)
A, B = ([round(RANDOM.gauss(0, 1), 4) for _ in range(N_ROWS)] for _ in range(2))
KIND = [RANDOM.choice(["red", "green", "blue"]) for _ in range(N_ROWS)]
Y = ["yes" if a + b + (kind == "red") > 0.3 else "no" for a, b, kind in zip(A, B, KIND, strict=True)]
NUMBERS = ["${x}", "a.b", "a b", "Größe", "A", "a", "target", "class"]
TEXTS = ['qu"ote', "split", "select"]


def prepare(path: Path, monkeypatch: pytest.MonkeyPatch) -> Schema:
    """Draft a table and run the stages in its folder."""
    folder = path.parent / "datasets/x"
    write_data_set(draft_table(path, target="y"), folder)
    monkeypatch.chdir(folder)
    params = check_params(load_params())
    for stage in (drop_columns, split, normalize, cap_classes, make_tensors):
        stage.run(params)
    return Schema.load(Path("data/processed") / SCHEMA_FILE)


def by_kind(*values: Any) -> list[Any]:
    return [dict(zip(("red", "green", "blue"), values, strict=True))[kind] for kind in KIND]


def times(frequency: str, form: str) -> list[str]:
    return [*pd.date_range("2024-01-01", periods=N_ROWS, freq=frequency).strftime(form)]


def test_a_table_of_odd_columns_becomes_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ignored = {
        "customer_id": range(100_000, 100_000 + N_ROWS),
        "constant": [1] * N_ROWS,
        "empty": [""] * N_ROWS,
        "text": [f"customer {row} wrote about {kind} and {row * 7}" for row, kind in enumerate(KIND)],
        "": range(N_ROWS),
    }
    categories = {
        "zip": [f"{row * 7 % 10:05d}" for row in range(N_ROWS)],
        "pclass": by_kind(1, 2, 3),
        "country": by_kind("NA", "ZA", "BW"),
        "t": by_kind("True", "False", "False"),
        **dict.fromkeys(TEXTS, KIND),
    }
    numbers = {
        **dict.fromkeys(NUMBERS, A),
        "w": by_kind(1, 0, 0),
        # An indicator that somebody added already stays a feature next to ours.
        "b": every(7, "", B),
        "b_missing": [int(row % 7 == 0) for row in range(N_ROWS)],
        "infinite": [*A[:3], "1e400", "-0.0", *A[5:]],
    }
    dates = {
        "when": times("7h", "%Y-%m-%dT%H:%M:%SZ"),
        "day": times("D", "%d/%m/%Y"),
        "epoch": [1_704_067_200 + 25_200 * row for row in range(N_ROWS)],
    }
    blank = {" kind": [f" {kind}" for kind in every(11, "?", KIND)]}
    labels = [" rare", *every(17, "", [f" {label}." for label in Y])[1:]]
    columns = {**ignored, **categories, **numbers, **dates, **blank, " y": labels}
    schema = prepare(write(tmp_path / "t.csv", columns, encoding="utf-8-sig"), monkeypatch)
    clock = ("month_sin", "month_cos", "day_of_week_sin", "day_of_week_cos", "hour_sin", "hour_cos", "time")
    parts = {"day": ("year", *(part for part in clock if "hour" not in part)), "when": clock, "epoch": clock}
    expected = {f"{name}.{part}" for name, found in parts.items() for part in found}
    assert {*schema.numeric} == {*numbers} | expected
    assert {feature.name: feature.categories for feature in schema.categorical} == {
        **{name: tuple(sorted({str(value) for value in values})) for name, values in categories.items()},
        "kind": ("blue", "green", "red", "missing"),
        "b (missing)": ("no", "yes"),
        "infinite (missing)": ("no", "yes"),
    }
    assert schema.class_names == ("no.", "yes.")
    assert sum(sum(schema.class_counts[name]) for name in SPLITS) == N_ROWS - len(range(0, N_ROWS, 17))


def test_a_long_table_becomes_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Many line breaks lie where one block ends that a stage reads, and the next one starts.
    notes = by_kind("a\r\nb", "c\r\n\r\nd", "e\nf")
    names = [f"name_{RANDOM.randrange(8000):04d}" for _ in range(60_000)]
    codes = [row % 50 if row < 50_000 else f"x{row % 50}" for row in range(60_000)]
    columns = {"a": A * 150, "note": notes * 150, "b": B * 150, "name": names, "late": codes, "y": Y * 150}
    schema = prepare(write(tmp_path / "t.csv", columns, lineterminator="\r\n"), monkeypatch)
    categories = {feature.name: feature.categories for feature in schema.categorical}
    assert {*categories["note"]} == {*notes}
    assert len(categories["name"]) > 500
    assert len(categories["late"]) == 100
    assert sum(sum(schema.class_counts[name]) for name in SPLITS) == 60_000
    assert max(file.stat().st_size for file in Path("data").rglob("*.*")) < 100 * 60_000

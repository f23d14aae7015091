"""Tables that are tiny or odd, drafted and trained with the preset, against a constant guess."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]

Draw = Callable[[np.random.Generator], tuple[pd.DataFrame, np.ndarray]]


def sixty_rows(rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    rows = rng.normal(size=(60, 5))
    return pd.DataFrame(rows), rows[:, 0] + rows[:, 1] > 0


def three_rows_a_class(rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    labels = np.repeat(np.arange(4), 3)
    return pd.DataFrame(rng.normal(size=(12, 3)) + 3 * labels[:, None]), labels


def one_feature(rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    rows = rng.normal(size=(200, 1))
    return pd.DataFrame(rows), rows[:, 0] + 0.5 * rng.normal(size=200) > 0


def more_features_than_rows(rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    common = rng.normal(size=100)
    return pd.DataFrame(rng.normal(size=(100, 500)) + common[:, None]), common > 0


def twenty_classes_of_five(rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    labels = np.repeat(np.arange(20), 5)
    return pd.DataFrame(3 * rng.normal(size=(20, 6))[labels] + rng.normal(size=(100, 6))), labels


def only_categories(rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    rows = rng.integers(0, 4, size=(300, 6))
    return pd.DataFrame(rows).map("abcd".__getitem__), (rows[:, 0] > 1) ^ (rows[:, 1] > 2)


def no_signal(rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    return pd.DataFrame(rng.normal(size=(300, 8))), rng.random(300) > 0.4


def log_losses(draw: Draw, folder: Path) -> tuple[float, float]:
    """Train a table by command; give the log loss of the preset and of the class frequencies."""
    features, labels = draw(np.random.default_rng(0))
    table = features.add_prefix("x").assign(y=[f"class {label}" for label in labels])
    table.sample(frac=1, random_state=0).to_csv(folder / "odd.csv", index=False)
    (folder / "INDEX.md").write_text(
        f"| file | classes | target |\n| --- | --- | --- |\n| odd.csv | {len(set(labels))} | y |\n"
    )
    records = folder / "records.jsonl"
    command = [sys.executable, str(ROOT / "benchmarks/tables.py"), str(folder), "--models", "default"]
    command += ["--seeds", "0", "--out", str(folder / "out"), "--records", str(records)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert records.is_file(), done.stdout + done.stderr
    frequencies = table["y"].value_counts(normalize=True)
    return json.loads(records.read_text())["nll"], -float((frequencies * np.log(frequencies)).sum())


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw",
    [
        sixty_rows,
        three_rows_a_class,
        one_feature,
        more_features_than_rows,
        twenty_classes_of_five,
        only_categories,
    ],
)
def test_the_preset_finds_the_signal(draw: Draw, tmp_path: Path) -> None:
    found, constant = log_losses(draw, tmp_path)
    assert found < 0.9 * constant


@pytest.mark.slow
def test_the_preset_finds_no_signal_where_there_is_none(tmp_path: Path) -> None:
    found, constant = log_losses(no_signal, tmp_path)
    assert 0.9 * constant < found < 1.1 * constant

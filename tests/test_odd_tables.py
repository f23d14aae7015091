"""Tables that are tiny or odd, drafted and trained with the preset, against a constant guess."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]


def draw(name: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Give the features and labels of a table."""
    rng = np.random.default_rng(0)
    few, twenty = np.repeat(np.arange(4), 3), np.repeat(np.arange(20), 5)
    sixty, one, common = rng.normal(size=(60, 5)), rng.normal(size=(200, 1)), rng.normal(size=100)
    codes = rng.integers(0, 4, size=(300, 6))
    features, labels = {
        "sixty rows": (sixty, sixty[:, 0] + sixty[:, 1] > 0),
        "three rows a class": (rng.normal(size=(12, 3)) + 3 * few[:, None], few),
        "one feature": (one, one[:, 0] + 0.5 * rng.normal(size=200) > 0),
        "more features than rows": (rng.normal(size=(100, 500)) + common[:, None], common > 0),
        "twenty classes of five": (3 * rng.normal(size=(20, 6))[twenty] + rng.normal(size=(100, 6)), twenty),
        "only categories": (np.array([*"abcd"])[codes], (codes[:, 0] > 1) ^ (codes[:, 1] > 2)),
        "no signal": (rng.normal(size=(300, 8)), rng.random(300) > 0.4),
    }[name]
    return pd.DataFrame(features), labels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        *(("sixty rows", 0, 0.9), ("three rows a class", 0, 0.9), ("one feature", 0, 0.9)),
        *(("more features than rows", 0, 0.9), ("twenty classes of five", 0, 0.9)),
        *(("only categories", 0, 0.9), ("no signal", 0.9, 1.1)),
    ],
)
def test_the_preset_finds_the_signal(name: str, least: float, most: float, tmp_path: Path) -> None:
    """Its log loss is so many times that of the class frequencies."""
    features, labels = draw(name)
    table = features.add_prefix("x").assign(y=[f"class {label}" for label in labels])
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "odd.csv", index=False)
    (tmp_path / "INDEX.md").write_text(
        f"| file | classes | target |\n| --- | --- | --- |\n| odd.csv | {len(set(labels))} | y |\n"
    )
    records = tmp_path / "records.jsonl"
    command = [sys.executable, str(ROOT / "benchmarks/tables.py"), str(tmp_path), "--models", "default"]
    command += ["--seeds", "0", "--out", str(tmp_path / "out"), "--records", str(records)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert records.is_file(), done.stdout + done.stderr
    frequencies = table["y"].value_counts(normalize=True)
    constant = -float((frequencies * np.log(frequencies)).sum())
    assert least < json.loads(records.read_text())["nll"] / constant < most

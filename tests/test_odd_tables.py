"""Tables that are tiny or odd, drafted and trained with the preset, against a constant guess."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
RNG = np.random.default_rng(0)
FEW, TWENTY = np.repeat(np.arange(4), 3), np.repeat(np.arange(20), 5)
SIXTY, ONE, COMMON = RNG.normal(size=(60, 5)), RNG.normal(size=(200, 1)), RNG.normal(size=100)
CODES = RNG.integers(0, 4, size=(300, 6))
# Features and labels.
TABLES = {
    "sixty rows": (SIXTY, SIXTY[:, 0] + SIXTY[:, 1] > 0),
    "three rows a class": (RNG.normal(size=(12, 3)) + 3 * FEW[:, None], FEW),
    "one feature": (ONE, ONE[:, 0] + 0.5 * RNG.normal(size=200) > 0),
    "more features than rows": (RNG.normal(size=(100, 500)) + COMMON[:, None], COMMON > 0),
    "twenty classes of five": (3 * RNG.normal(size=(20, 6))[TWENTY] + RNG.normal(size=(100, 6)), TWENTY),
    "only categories": (np.array([*"abcd"])[CODES], (CODES[:, 0] > 1) ^ (CODES[:, 1] > 2)),
    "no signal": (RNG.normal(size=(300, 8)), RNG.random(300) > 0.4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_the_preset_finds_the_signal(name: str, tmp_path: Path) -> None:
    """Its log loss is so many times that of the class frequencies."""
    features, labels = TABLES[name]
    table = pd.DataFrame(features).add_prefix("x").assign(y=[f"class {label}" for label in labels])
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "odd.csv", index=False)
    index = f"| file | classes | target |\n| --- | --- | --- |\n| odd.csv | {len(set(labels))} | y |\n"
    (tmp_path / "INDEX.md").write_text(index)
    records = tmp_path / "records.jsonl"
    command = [sys.executable, str(ROOT / "benchmarks/tables.py"), str(tmp_path), "--models", "default"]
    command += ["--seeds", "0", "--out", str(tmp_path / "out"), "--records", str(records)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert records.is_file(), done.stdout + done.stderr
    frequencies = table["y"].value_counts(normalize=True)
    constant = -float((frequencies * np.log(frequencies)).sum())
    least, most = (0.9, 1.1) if name == "no signal" else (0, 0.9)
    assert least < json.loads(records.read_text())["nll"] / constant < most

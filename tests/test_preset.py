"""Presets: values that depend on the number of training rows, what a run keeps of them, and odd tables."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from canopy.preset import Size, leave_out_trees, register_rules
from canopy.runs.fit import fit
from canopy.runs.run import Run
from canopy.tables.draft.draft import draft_table, write_data_set
from packages import ROOT, composed

PRESETS = sorted(path.stem for path in (ROOT / "configs/preset").glob("*.yaml"))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.usefixtures("rule_for_5000_rows")
def test_a_preset_depends_on_the_numbers_of_rows_and_features(preset: str) -> None:
    found = []
    for n_rows in (100, 5_000, 400_000):
        register_rules(lambda _, n_rows=n_rows: Size(n_rows, 10))
        cfg = composed("train", f"preset={preset}")
        found.append((cfg.data.batch_size, -cfg.trainer.max_epochs))
    assert found == sorted(found)
    assert found[0] != found[-1]
    for n_numeric in (139, 140):
        register_rules(lambda _, n_numeric=n_numeric: Size(70, n_numeric))
        members = composed("train", f"preset={preset}").model.net.members
        kinds = {name for name, net in members.items() if net.get("n_members")}
        # The nets of a wide table see the features as they are.
        assert (kinds == {"plain"}) == ("plain" in kinds) == (n_numeric == 140)


@pytest.mark.usefixtures("trusted_targets")
def test_a_run_keeps_the_values_that_the_rule_gave(tensors: Path, tmp_path: Path) -> None:
    paths = (f"pipeline.paths.processed={tensors}", f"run_folder={tmp_path}")
    quick = ("trainer=cpu", "trainer.max_epochs=1", "callbacks.progress_bar=null")
    cfg = composed("train", "preset=quick", *quick, *paths)
    assert OmegaConf.is_interpolation(cfg.data, "batch_size")
    fit(cfg)
    config = Run(tmp_path).config
    assert "by_rows" not in OmegaConf.to_yaml(config)
    assert (config.data.batch_size, config.model.net.members.periodic.n_members) == (64, 4)


def test_the_pipeline_composes_a_preset_before_there_are_tensors(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{row % 7},{row % 2}\n" for row in range(90)))
    folder = tmp_path / "datasets/t"
    write_data_set(draft_table(tmp_path / "t.csv", target="y"), folder)
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("../../configs", str(ROOT / "configs")))
    subprocess.run([sys.executable, str(ROOT / "scripts/compose.py")], cwd=folder, check=True)
    text = (folder / "reports/train_config.yaml").read_text()
    assert "${by_rows:{0: 32" in text
    assert "log_every_n_steps" not in text


@pytest.mark.usefixtures("rule_for_5000_rows")
def test_trees_need_catboost(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    cfg = composed("train", "preset=best")
    leave_out_trees(cfg)
    assert None not in cfg.model.net.members.values()
    monkeypatch.setattr("canopy.preset.find_spec", lambda name: None)
    leave_out_trees(cfg)
    assert {name for name, net in cfg.model.net.members.items() if net is None} == {"trees", "random_trees"}
    assert "without the members trees, random_trees, which need the package catboost" in caplog.text


RNG = np.random.default_rng(0)
FEW, TWENTY = np.repeat(np.arange(4), 3), np.repeat(np.arange(20), 5)
SIXTY, ONE, COMMON = RNG.normal(size=(60, 5)), RNG.normal(size=(200, 1)), RNG.normal(size=100)
CODES = RNG.integers(0, 4, size=(300, 6))
# Features and labels of tables that are tiny or odd.
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

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from canopy.compare.experiments import as_json, collect, compose_experiments, read_experiments
from canopy.compare.summary import experiments_table
from canopy.files import write_json
from canopy.runs.find import find_runs
from canopy.runs.run import Run
from packages import ROOT, composed

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def recipes() -> dict[str, str]:
    return compose_experiments(ROOT / "configs")


@pytest.fixture
def train(make_run: Make, evaluate: Make) -> Make:
    """Make an evaluated run of the project's own config; of 100 test rows it has so many right."""

    def make(name: str, *overrides: str, n_right: int = 90, seed: int = 0, status: str = "finished") -> Run:
        training = {"train_seconds": 10.0 + seed, "device": "cpu", "n_threads": 2}
        run = make_run(name, seed=seed, training=training, status=status)
        config = composed("train", *overrides, f"seed={seed}", f"run_folder={run.path}")
        (run.path / "config.yaml").write_text(OmegaConf.to_yaml(config))
        labels = np.arange(100) % 3
        predicted = np.where(np.arange(100) < n_right, labels, (labels + 1) % 3)
        for split in ("val", "test"):
            evaluate(run, labels, predicted, split=split)
        return run

    return make


@pytest.fixture
def gather(logs: Path, recipes: dict[str, str], tmp_path: Path) -> Make:
    nothing = read_experiments(tmp_path / "absent.json")
    return lambda: collect(find_runs([], logs=logs), recipes=recipes, earlier=nothing)


def test_collect_gathers_seeds_of_any_machine(train: Make, gather: Make, recipes: dict[str, str]) -> None:
    assert len({*recipes.values()}) == len(recipes)
    train("old", "experiment=mlp", n_right=80)
    train("a", "experiment=mlp", n_right=90)
    train("b", "experiment=mlp", "trainer=gpu", "callbacks.progress_bar=null", n_right=94, seed=1)
    train("c", "experiment=mlp", "model.optimizer.lr=0.5", seed=2)
    train("d", "experiment=mlp", "pipeline.cap_classes.max_per_class=9", seed=3)
    train("e", "experiment=mlp", seed=4, status="stopped")
    train("area", "experiment=new_wilderness", "pipeline.split.column=Wilderness_Area2")
    train("fold", "experiment=beyondarena", "pipeline.split.fold=2")
    fold, experiment, other = as_json(gather())
    assert (fold["name"], fold["left_out"]) == ("beyondarena", "fold 2")
    assert (experiment["name"], experiment["left_out"], experiment["split"]) == ("mlp", None, "stratified")
    assert (other["name"], other["left_out"]) == ("new_wilderness", "Wilderness_Area2")
    assert [(run["seed"], run["accuracy"]) for run in experiment["runs"]] == [(0, 0.9), (1, 0.94)]
    assert "| **`mlp`** | 2 | 0.9200 ± 0.0283 |" in experiments_table(gather())


def test_command_warns_of_damaged_runs(train: Make, command: Make, tmp_path: Path, monkeypatch: Any) -> None:
    train("good", "experiment=mlp")
    contents = {"cut": "data: {", "old": "{data: {}, model: {}, pipeline: {seed: 0}}", "foreign": "- 1"}
    for name, content in contents.items():
        (train(name).path / "config.yaml").write_text(content)
    for name in ("params.yaml", "configs", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    out, err, _ = command("summarize --experiments")
    assert "| **`mlp`** | 1 | 0.9000 |" in out
    warned = {line.split(" is left out")[0] for line in err.splitlines()}
    assert warned == {f"Warning: logs/train/runs/{name}" for name in contents}


def test_collect_keeps_earlier_runs(train: Make, gather: Make, tmp_path: Path, recipes: dict) -> None:
    train("a", "experiment=mlp", n_right=90)
    train("b", "experiment=default", n_right=95)
    path = tmp_path / "experiments.json"
    write_json(path, as_json(gather()))
    earlier = read_experiments(path)
    assert as_json(earlier) == json.loads(path.read_text())
    new = train("c", "experiment=mlp", n_right=92, seed=1)
    both = collect([new], recipes=recipes, earlier=earlier)
    assert both[["name", "seed"]].to_numpy().tolist() == [["default", 0], ["mlp", 0], ["mlp", 1]]
    changed = collect([new], recipes={**recipes, "default": "another"}, earlier=earlier)
    assert {*changed["name"]} == {"mlp"}

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from canopy.compare.experiments import as_json, collect, compose_experiments, read_experiments
from canopy.compare.summary import experiments_table
from canopy.files import write_json
from canopy.runs.find import find_runs
from canopy.runs.run import Run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recipes() -> dict[str, str]:
    return compose_experiments(ROOT / "configs")


@pytest.fixture
def train(make_run: Callable[..., Run], evaluate: Callable[..., None]) -> Callable[..., Run]:
    """Make an evaluated run of the project's own config; of 100 test rows it has so many right."""

    def make(name: str, *overrides: str, n_right: int = 90, seed: int = 0, status: str = "finished") -> Run:
        training = {"epochs": 3, "train_seconds": 10.0 + seed, "n_parameters": 1000}
        training |= {"device": "cpu", "n_threads": 2}
        run = make_run(name, seed=seed, training=training, machine={"n_cores": 2}, status=status)
        with initialize_config_dir(str(ROOT / "configs"), job_name="train"):
            config = compose("train", [*overrides, f"seed={seed}", f"run_folder={run.path}"])
        (run.path / "config.yaml").write_text(OmegaConf.to_yaml(config))
        labels = np.arange(100) % 3
        predicted = np.where(np.arange(100) < n_right, labels, (labels + 1) % 3)
        for split in ("val", "test"):
            evaluate(run, labels, predicted, split=split)
        return run

    return make


@pytest.fixture
def gather(logs: Path, recipes: dict[str, str], tmp_path: Path) -> Callable[[], pd.DataFrame]:
    nothing = read_experiments(tmp_path / "absent.json")
    return lambda: collect(find_runs([], logs=logs), recipes=recipes, earlier=nothing)


def test_collect_gathers_runs_that_differ_in_seed_and_machine(
    train: Callable, gather: Callable, recipes: dict[str, str]
) -> None:
    assert len({*recipes.values()}) == len(recipes)
    train("old", "experiment=mlp", n_right=80)
    train("a", "experiment=mlp", n_right=90)
    train("b", "experiment=mlp", "trainer=gpu", "callbacks.progress_bar=null", n_right=94, seed=1)
    train("c", "experiment=mlp", "model.optimizer.lr=0.5", seed=2)
    train("d", "experiment=mlp", "pipeline.cap_classes.max_per_class=9", seed=3)
    train("e", "experiment=mlp", seed=4, status="stopped")
    (experiment,) = as_json(gather())
    assert (experiment["name"], experiment["left_out"], experiment["split"]) == ("mlp", None, "stratified")
    assert [(run["seed"], run["accuracy"]) for run in experiment["runs"]] == [(0, 0.9), (1, 0.94)]
    assert "| **`mlp`** | 2 | 0.9200 ± 0.0283 |" in experiments_table(gather())


def test_command_leaves_out_damaged_and_old_runs_with_a_warning(
    train: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train("good", "experiment=mlp")
    contents = {"cut": "data: {", "old": "{data: {}, model: {}, pipeline: {seed: 0}}", "foreign": "- 1"}
    contents |= {"odd": "{data: '${', model: {}, pipeline: a}"}
    for name, content in contents.items():
        (train(name).path / "config.yaml").write_text(content)
    for name in ("params.yaml", "configs", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["summarize", "--experiments"])
    runpy.run_path(str(ROOT / "src/summarize.py"), run_name="__main__")
    out, err = capsys.readouterr()
    assert "| **`mlp`** | 1 | 0.9000 |" in out
    warnings = [line.split(" is left out")[0] for line in err.splitlines()]
    assert {*warnings} == {f"Warning: logs/train/runs/{name}" for name in contents}


def test_collect_keeps_earlier_runs_of_the_same_recipe(
    train: Callable, gather: Callable, tmp_path: Path, recipes: dict[str, str]
) -> None:
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


def test_tables_have_groups_left_out_and_published_figures(
    train: Callable, gather: Callable, tmp_path: Path
) -> None:
    train("a", "experiment=mlp", n_right=90)
    for index, area in enumerate(("Wilderness_Area1", "Wilderness_Area2")):
        train(area, "experiment=new_wilderness", f"pipeline.split.left_out={area}", n_right=60 + 10 * index)
    published = tmp_path / "published.yaml"
    published.write_text(
        "- {split: stratified, title: Of all rows, published: [\n"
        "    {model: Better, accuracy: 0.95, nll: 0.0568, time: 4 min, source: Someone},\n"
        "    {model: Worse, accuracy: 0.5, source: Someone}]}\n"
        "- {split: leave_group_out, title: Of new land, published: []}\n"
        "- {split: ordered, title: Others, published: [{model: A, accuracy: 0.99, source: Someone}]}\n"
    )
    lines = experiments_table(gather(), published).splitlines()
    assert (lines[0], "Others:" in lines) == ("Of all rows:", False)
    assert lines[4:7] == [
        "| Better | | 0.9500 | | | 0.0568 | 4 min | Someone |",
        "| **`mlp`** | 1 | 0.9000 | 0.9000 | 0.9002 | 0.5000 | 10 s (cpu, 2 threads) | this repository |",
        "| Worse | | 0.5000 | | | | | Someone |",
    ]
    names = ("Wilderness_Area2 left out", "Wilderness_Area1 left out", "mean of 2")
    for line, name in zip(lines[-3:], names, strict=True):
        assert line.startswith(f"| **`new_wilderness`**, {name} |")
    assert lines[-1].startswith("| **`new_wilderness`**, mean of 2 | | 0.6500 |")

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from canopy.compare.experiments import (
    Experiment,
    as_json,
    as_markdown,
    collect,
    compose_experiments,
    read_experiments,
)
from canopy.files import write_json
from canopy.runs.listed import find_runs

CONFIGS = Path(__file__).parents[2] / "configs"
Make = Callable[..., Path]


@pytest.fixture(scope="module")
def recipes() -> dict[str, str]:
    return compose_experiments(CONFIGS)


@pytest.fixture
def train(make_run: Make, evaluate: Callable[..., None]) -> Make:
    """Make an evaluated run of the project's own config; of 100 test rows it has so many right."""

    def make(name: str, *overrides: str, n_right: int = 90, seed: int = 0) -> Path:
        training = {"epochs": 3, "train_seconds": 10.0 + seed, "n_parameters": 1000}
        folder = make_run(
            name,
            seed=seed,
            training={**training, "device": "cpu", "n_threads": 2},
            machine={"n_cores": 2},
        )
        with initialize_config_dir(str(CONFIGS), job_name="train"):
            config = compose("train", [*overrides, f"seed={seed}", f"run_folder={folder}"])
        (folder / "config.yaml").write_text(OmegaConf.to_yaml(config))
        labels = np.arange(100) % 3
        predicted = np.where(np.arange(100) < n_right, labels, (labels + 1) % 3)
        for split in ("val", "test"):
            evaluate(folder, labels, predicted, split=split)
        return folder

    return make


def gather(logs: Path, recipes: dict[str, str], **options: Any) -> list[Experiment]:
    return collect(find_runs([], logs=logs), recipes=recipes, **options)


def test_each_experiment_trains_in_its_own_way(recipes: dict[str, str]) -> None:
    assert set(recipes) == {path.stem for path in CONFIGS.glob("**/experiment/*.yaml")}
    assert len(set(recipes.values())) == len(recipes)


def test_runs_that_differ_in_seed_and_machine_are_one_experiment(
    train: Make, logs: Path, recipes: dict[str, str]
) -> None:
    train("a", "experiment=mlp", n_right=90)
    train("b", "experiment=mlp", "trainer=gpu", "callbacks.progress_bar=null", n_right=94, seed=1)
    train("c", "experiment=mlp", "model.optimizer.lr=0.5", seed=2)
    train("d", "experiment=mlp", "pipeline.cap_classes.max_per_class=9", seed=3)
    unfinished = train("e", "experiment=mlp", seed=4)
    record = json.loads((unfinished / "run.json").read_text())
    (unfinished / "run.json").write_text(json.dumps({**record, "status": "stopped"}))
    (experiment,) = gather(logs, recipes)
    assert (experiment.name, experiment.left_out, experiment.split) == ("mlp", None, "stratified")
    assert [run["seed"] for run in experiment.runs] == [0, 1]
    assert experiment.spread("accuracy").mean == pytest.approx(0.92)
    assert "| **`mlp`** | 2 | 0.9200 ± 0.0283 |" in as_markdown([experiment])


def test_of_two_runs_with_one_seed_the_newer_counts(train: Make, logs: Path, recipes: dict[str, str]) -> None:
    train("a", n_right=80)
    train("b", n_right=85)
    (experiment,) = gather(logs, recipes)
    assert [run["accuracy"] for run in experiment.runs] == [0.85]


def test_what_was_measured_elsewhere_stays_as_long_as_its_config(
    train: Make, logs: Path, tmp_path: Path, recipes: dict[str, str]
) -> None:
    train("a", "experiment=mlp", n_right=90)
    train("b", "experiment=default", n_right=95)
    path = tmp_path / "experiments.json"
    assert read_experiments(path) == []
    write_json(path, as_json(gather(logs, recipes)))
    earlier = read_experiments(path)
    assert [experiment.name for experiment in earlier] == ["default", "mlp"]
    train("c", "experiment=mlp", n_right=92, seed=1)
    runs = [run for run in find_runs([], logs=logs) if run.name == "c"]
    both = collect(runs, recipes=recipes, earlier=earlier)
    assert {item.name: [run["seed"] for run in item.runs] for item in both} == {"default": [0], "mlp": [0, 1]}
    changed = collect(runs, recipes={**recipes, "default": "another"}, earlier=earlier)
    assert [item.name for item in changed] == ["mlp"]


def test_each_group_left_out_is_a_row(train: Make, logs: Path, recipes: dict[str, str]) -> None:
    for index, area in enumerate(("Wilderness_Area1", "Wilderness_Area2")):
        train(
            area,
            "experiment=new_wilderness",
            f"pipeline.split.left_out={area}",
            n_right=60 + 10 * index,
        )
    experiments = gather(logs, recipes)
    assert [item.left_out for item in experiments] == ["Wilderness_Area1", "Wilderness_Area2"]
    lines = as_markdown(experiments).splitlines()
    assert lines[-1].startswith("| **`new_wilderness`**, mean of 2 | | 0.6500 |")


def test_ours_stand_among_the_published_figures_by_accuracy(
    train: Make, logs: Path, recipes: dict[str, str], tmp_path: Path
) -> None:
    train("a", "experiment=mlp", n_right=90)
    published = tmp_path / "published.yaml"
    published.write_text(
        "- {split: stratified, model: Better, accuracy: 0.95, nll: 0.0568, time: 4 min, source: Someone}\n"
        "- {split: stratified, model: Worse, accuracy: 0.5, source: Someone}\n"
        "- {split: ordered, model: Elsewhere, accuracy: 0.99, source: Someone}\n"
    )
    table = as_markdown(gather(logs, recipes), published).splitlines()
    assert table[4] == "| Better | | 0.9500 | | | 0.0568 | 4 min | Someone |"
    assert table[5].startswith(
        "| **`mlp`** | 1 | 0.9000 | 0.9000 | 0.9002 | 0.5000 | 10 s (cpu, 2 threads) |"
    )
    assert table[6] == "| Worse | | 0.5000 | | | | | Someone |"
    assert len(table) == 7

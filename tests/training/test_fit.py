import csv
import json
import warnings
from pathlib import Path

import pytest
import torch
from lightning.pytorch.profilers import SimpleProfiler
from omegaconf import DictConfig, OmegaConf, open_dict

from canopy.runs.fit import fit
from canopy.runs.run import Run
from canopy.runs.run_folder import publish
from canopy.training.checkpoint import load_checkpoint
from canopy.training.fit import prepare
from canopy.training.loggers.resumable import ResumableCSVLogger, ResumableTensorBoardLogger
from canopy.training.parts import build_all

pytestmark = pytest.mark.usefixtures("trusted_targets")


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Read what the CSV logger wrote, each row without its empty cells."""
    with (folder / "csv/metrics.csv").open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def weights(folder: str) -> dict[str, torch.Tensor]:
    return load_checkpoint(Path(folder) / "checkpoints/best.ckpt")["state_dict"]


def test_a_run_leaves_its_checkpoints_logs_and_report(train_config: DictConfig) -> None:
    score = fit(train_config)
    folder = Path(train_config.run_folder)
    for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "csv/metrics.csv", "run.json"):
        assert (folder / name).is_file(), name
    assert list(folder.glob("events.out.tfevents.*"))
    report = json.loads((folder / "train.json").read_text())
    assert set(report) == {
        *("train_seconds", "rows_per_second", "epochs", "n_parameters", "device", "n_threads"),
        *("seed", "git_sha", "batch_size", "best_epoch"),
    }
    assert (report["epochs"], report["device"], report["seed"]) == (2, "cpu", 42)
    assert report["n_parameters"] > 0
    logged = read_metrics(folder)
    assert score == pytest.approx(max(row["val/accuracy"] for row in logged if "val/accuracy" in row))
    names = {name for row in logged for name in row}
    assert {"val/macro_f1", "val/balanced_accuracy", "val/nll", "val/recall/Plum", "train/loss"} <= names


def test_the_same_seed_gives_the_same_weights(train_config: DictConfig, tmp_path: Path) -> None:
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        with open_dict(train_config):
            train_config.run_folder = str(tmp_path / name)
            train_config.seed = seed
        (tmp_path / name).mkdir()
        fit(train_config)
        found.append(weights(train_config.run_folder))
    first, again, other = found
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_the_best_checkpoint_is_the_best_epochs(train_config: DictConfig) -> None:
    train_config.trainer.max_epochs = 6
    fit(train_config)
    folder = Path(train_config.run_folder)
    best = load_checkpoint(folder / "checkpoints/best.ckpt")
    accuracies = {row["epoch"]: row["val/accuracy"] for row in read_metrics(folder) if "val/accuracy" in row}
    assert accuracies[best["epoch"]] == max(accuracies.values())
    assert load_checkpoint(folder / "checkpoints/last.ckpt")["epoch"] == 5


@pytest.mark.parametrize(
    ("metric", "mode", "choose"), [("val/nll", "min", min), ("val/macro_f1", "max", max)]
)
def test_another_objective_can_choose(train_config: DictConfig, metric: str, mode: str, choose) -> None:
    train_config.objective.update(monitor=metric, mode=mode)
    train_config.trainer.max_epochs = 4
    values = [fit(train_config)]
    values.append(choose(row[metric] for row in read_metrics(Path(train_config.run_folder)) if metric in row))
    assert values[0] == pytest.approx(values[1])


def test_a_fast_dev_run_saves_nothing(train_config: DictConfig) -> None:
    train_config.trainer.fast_dev_run = True
    fit(train_config)
    assert not (Path(train_config.run_folder) / "checkpoints").exists()


def test_a_run_without_a_best_checkpoint_is_refused_before_it_trains(train_config: DictConfig) -> None:
    train_config.callbacks.best_checkpoint = None
    with pytest.raises(ValueError, match="found no callback that does: keep callbacks.best_checkpoint"):
        fit(train_config)
    assert not (Path(train_config.run_folder) / "csv").exists()


def test_a_profiler_is_asked_for_by_name(train_config: DictConfig) -> None:
    with prepare(train_config).trainer.profiler.profile("anything") as nothing:
        assert nothing is None
    train_config.trainer.profiler = "simple"
    assert isinstance(prepare(train_config).trainer.profiler, SimpleProfiler)


SCHEDULES = [
    {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR"},
    {"_target_": "torch.optim.lr_scheduler.LinearLR"},
    {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 5},
    None,
]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_any_schedule_of_torch_works(train_config: DictConfig, schedule: dict | None) -> None:
    train_config.model.scheduler = None if schedule is None else {"_partial_": True, **schedule}
    fit(train_config)


def test_entries_set_to_null_are_left_out(train_config: DictConfig) -> None:
    train_config.callbacks.early_stopping = None
    run = prepare(train_config)
    assert "EarlyStopping" not in {type(callback).__name__ for callback in run.trainer.callbacks}
    assert [type(logger) for logger in run.trainer.loggers] == [
        *(ResumableTensorBoardLogger, ResumableCSVLogger)
    ]


def test_an_entry_of_another_kind_is_refused() -> None:
    group = OmegaConf.create({"a": {"_target_": "torch.nn.Identity"}})
    with pytest.raises(ValueError, match=r"group\.a must make a int; got a Identity"):
        build_all("group", group, int)


def test_a_config_cannot_call_any_code(train_config: DictConfig) -> None:
    for target in ("json.dumps", "lightning.fabric.utilities.cloud_io._load", "canopy.files.write_text"):
        train_config.callbacks.early_stopping = {"_target_": target, "path": "a"}
        with pytest.raises(Exception, match=target):
            prepare(train_config)


def test_a_copy_takes_the_place_of_nothing_but_a_run(train_config: DictConfig, tmp_path: Path) -> None:
    place = tmp_path / "models"
    place.mkdir()
    (place / "thesis.txt").write_text("years of work")
    train_config.publish.run = str(place)
    with pytest.raises(ValueError, match=r"publish\.run must name a new folder, .*; got a folder"):
        fit(train_config)
    assert (place / "thesis.txt").read_text() == "years of work"
    # Before training, not after it.
    assert not (Path(train_config.run_folder) / "checkpoints").exists()


def test_publishing_replaces_what_is_there(train_config: DictConfig, tmp_path: Path) -> None:
    folder, target = Path(train_config.run_folder), tmp_path / "models" / "trained"
    fit(train_config)
    target.mkdir(parents=True)
    (target / "old").touch()
    publish(folder, target)
    # The last one only while the project has changes that are not committed.
    assert {path.name for path in target.iterdir()} - {"git.diff"} == {
        *("checkpoints", "config.yaml", "preprocessor.json", "run.json", "schema.json", "train.json")
    }
    assert Run(target).schema == Run(folder).schema
    assert [path.name for path in target.parent.iterdir()] == ["trained"]


def test_a_folder_without_a_run_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"must hold config.yaml; .* logs/train/runs"):
        Run(tmp_path)


def test_a_run_of_another_project_has_its_paths_there(train_config: DictConfig, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "run").mkdir(parents=True)
    (project / "params.yaml").touch()
    train_config.data.folder = "data/processed"
    OmegaConf.save(train_config, project / "run/config.yaml")
    found = Run(project / "run").located_config
    assert found.data.folder == str(project / "data/processed")
    # The format of tables is no path.
    assert (found.pipeline.paths.interim, found.pipeline.paths.format) == (f"{project}/data/interim", "csv")


def test_training_warns_of_nothing(train_config: DictConfig) -> None:
    with warnings.catch_warnings(record=True) as caught:
        fit(train_config)
    assert [str(warning.message) for warning in caught] == []


KAPPA = {"_partial_": True, "_target_": "torchmetrics.classification.MulticlassCohenKappa"}


def test_a_metric_of_the_config_is_logged_and_chooses_the_best_epoch(train_config: DictConfig) -> None:
    with open_dict(train_config):
        train_config.model.metrics = {"kappa": KAPPA}
        train_config.objective.monitor = "val/kappa"
    score = fit(train_config)
    assert score == pytest.approx(
        max(row["val/kappa"] for row in read_metrics(Path(train_config.run_folder)) if "val/kappa" in row)
    )


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"accuracy": KAPPA}, "model.metrics must have new names; got accuracy"),
        (
            {
                "recall": {
                    **KAPPA,
                    "_target_": "torchmetrics.classification.MulticlassRecall",
                    "average": None,
                }
            },
            "model.metrics.recall must compute one number; got 3",
        ),
    ],
)
def test_a_metric_that_cannot_be_a_score_is_refused(
    train_config: DictConfig, metrics: dict[str, object], message: str
) -> None:
    with open_dict(train_config):
        train_config.model.metrics = metrics
    with pytest.raises(ValueError, match=message):
        fit(train_config)


def test_a_loss_of_the_config_is_trained_with(train_config: DictConfig, tmp_path: Path) -> None:
    found = []
    for name, loss in (
        ("cross_entropy", {"label_smoothing": 0.0}),
        ("multi_margin_loss", {"margin": 0.5}),
    ):
        with open_dict(train_config):
            train_config.run_folder = str(tmp_path / name)
            train_config.model.loss = {
                "_partial_": True,
                "_target_": f"torch.nn.functional.{name}",
                **loss,
            }
        (tmp_path / name).mkdir()
        fit(train_config)
        found.append(weights(train_config.run_folder))
    first, other = found
    assert not all(torch.equal(first[key], other[key]) for key in first)

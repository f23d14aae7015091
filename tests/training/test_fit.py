import csv
import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf, open_dict

from canopy.data.dataset import load_rows
from canopy.evaluation.inference import Predictor
from canopy.prepare.preprocessor import Encoded
from canopy.runs.fit import fit
from canopy.runs.run import Run
from canopy.training.checkpoint import load_checkpoint
from packages import ROOT, composed

pytestmark = pytest.mark.usefixtures("trusted_targets")

FEW_BATCHES = "ignore:The number of training batches"


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Read what the CSV logger wrote, each row without its empty cells."""
    with (folder / "csv/metrics.csv").open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def test_a_run_leaves_its_checkpoints_logs_and_report(train_config: DictConfig) -> None:
    train_config.trainer.max_epochs = 4
    score = fit(train_config)
    folder = Path(train_config.run_folder)
    assert (folder / "run.json").is_file()
    assert list(folder.glob("events.out.tfevents.*"))
    report = json.loads((folder / "train.json").read_text())
    assert (report["epochs"], report["device"], report["seed"]) == (4, "cpu", 42)
    assert report["n_parameters"] > 0
    logged = read_metrics(folder)
    accuracies = {row["epoch"]: row["val/accuracy"] for row in logged if "val/accuracy" in row}
    assert score == pytest.approx(max(accuracies.values()))
    assert accuracies[load_checkpoint(folder / "checkpoints/best.ckpt")["epoch"]] == max(accuracies.values())
    assert load_checkpoint(folder / "checkpoints/last.ckpt")["epoch"] == 3
    names = {name for row in logged for name in row}
    assert {"val/macro_f1", "val/balanced_accuracy", "val/nll", "val/recall/Plum", "train/loss"} <= names


def test_seed_and_loss_decide_the_weights(train_config: DictConfig, tmp_path: Path) -> None:
    margin = {"_partial_": True, "_target_": "torch.nn.functional.multi_margin_loss", "margin": 0.5}
    found = []
    for values in ({}, {}, {"seed": 1}, {"model.loss": margin}):
        config = train_config.copy()
        config.run_folder = tempfile.mkdtemp(dir=tmp_path)
        for key, value in values.items():
            OmegaConf.update(config, key, value, merge=False)
        fit(config)
        best = load_checkpoint(Run(config.run_folder).best_checkpoint)
        found.append(best["state_dict"]["net.layers.0.weight"])
    assert [torch.equal(found[0], weight) for weight in found] == [True, True, False, False]


KAPPA = {"_partial_": True, "_target_": "torchmetrics.classification.MulticlassCohenKappa"}


@pytest.mark.parametrize(
    ("metrics", "monitor", "choose"), [({}, "val/nll", min), ({"kappa": KAPPA}, "val/kappa", max)]
)
def test_another_objective_can_choose(
    train_config: DictConfig, metrics: dict, monitor: str, choose: Callable
) -> None:
    with open_dict(train_config):
        train_config.model.metrics = metrics
    train_config.objective.monitor = monitor
    train_config.trainer.max_epochs = 4
    score = fit(train_config)
    rows = read_metrics(Path(train_config.run_folder))
    assert score == pytest.approx(choose(row[monitor] for row in rows if monitor in row))


def test_a_fast_dev_run_saves_nothing(train_config: DictConfig) -> None:
    train_config.trainer.fast_dev_run = True
    fit(train_config)
    assert not (Path(train_config.run_folder) / "checkpoints").exists()


def test_the_metrics_are_those_of_the_best_epoch(train_config: DictConfig) -> None:
    """An epoch of 10 steps that undoes the others comes last, with a rate 100 times as high."""
    train_config.model.optimizer.lr = 0.05
    target = {"_partial_": True, "_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 10, "gamma": 100}
    train_config.model.scheduler = target
    fit(train_config)
    run = Run(train_config.run_folder)
    best = run.record["best"]
    rows = [{k: v for k, v in row.items() if k.startswith("val/")} for row in read_metrics(run.path)]
    first, last = filter(None, rows)
    assert first["val/accuracy"] > last["val/accuracy"]
    assert best["score"] == best["metrics"]["val/accuracy"]
    assert best["metrics"] == pytest.approx(first)


@pytest.mark.parametrize("schedule", ["CosineAnnealingLR", "LinearLR", None])
def test_any_schedule_of_torch_works(train_config: DictConfig, schedule: str | None) -> None:
    target = {"_partial_": True, "_target_": f"torch.optim.lr_scheduler.{schedule}"}
    train_config.model.scheduler = target if schedule else None
    fit(train_config)


def test_a_copy_takes_the_place_of_nothing_but_a_run(train_config: DictConfig, tmp_path: Path) -> None:
    folder, target = Path(train_config.run_folder), tmp_path / "models" / "trained"
    target.mkdir(parents=True)
    (target / "thesis.txt").write_text("years of work")
    train_config.publish.run = str(target)
    with pytest.raises(ValueError, match=r"publish\.run must name a new folder, .*; got a folder"):
        fit(train_config)
    assert (target / "thesis.txt").read_text() == "years of work"
    # Before training, not after it.
    assert not (folder / "checkpoints").exists()
    (target / "run.json").touch()
    fit(train_config)
    # The last one only while the project has changes that are not committed.
    assert {path.name for path in target.iterdir()} - {"git.diff"} == {
        *("checkpoints", "config.yaml", "preprocessor.json", "run.json", "schema.json", "train.json")
    }
    assert Run(target).schema == Run(folder).schema
    assert [path.name for path in target.parent.iterdir()] == ["trained"]


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


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "configs").glob(f"**/{group}/*.yaml"))


@pytest.fixture
def compose(train_config: DictConfig) -> Callable[..., DictConfig]:
    """Compose the training config with more overrides, over the same small data."""
    quiet = ("trainer=cpu", "trainer.enable_progress_bar=false", "callbacks.progress_bar=null")
    folders = (f"data.folder={train_config.data.folder}", f"run_folder={train_config.run_folder}")
    return partial(composed, "train", *quiet, "data.batch_size=4", *folders)


@pytest.mark.slow
@pytest.mark.filterwarnings(FEW_BATCHES)
@pytest.mark.parametrize(
    "overrides",
    [
        *([f"debug={mode}", "model.net.hidden=[8]"] for mode in choices("debug")),
        *([f"experiment={experiment}", "debug=fdr"] for experiment in choices("experiment")),
        # Others, of servers, are tested in tests/trackers.
        *([f"logger={logger}", "trainer.max_epochs=1"] for logger in ("both", "csv", "none", "tensorboard")),
    ],
    ids=lambda overrides: overrides[0],
)
def test_a_choice_runs(compose: Callable[..., DictConfig], overrides: list[str]) -> None:
    fit(compose(*overrides))


@pytest.mark.slow
@pytest.mark.filterwarnings(FEW_BATCHES)
@pytest.mark.parametrize("embedding", choices("model/embedding"))
@pytest.mark.parametrize("model", choices("model"))
def test_a_model_trains_and_is_read_back(
    compose: Callable[..., DictConfig], model: str, embedding: str, tensors: Path
) -> None:
    place = "net.member" if model == "ensemble" else "net"
    # Each member of a mixed net has its own.
    has_own = model == "mlp" or "mixed" in model
    overrides = [] if has_own else [f"model/embedding@model.{place}.embedding={embedding}"]
    config = compose(f"model={model}", *overrides, "trainer.max_epochs=1")
    score = fit(config)
    predictor = Predictor(Run(config.run_folder), batch_size=50, accelerator="cpu")
    rows = load_rows(tensors, "val", predictor.model.schema).rows
    predicted = predictor.predict(Encoded(rows.numeric.numpy(), rows.categorical.numpy())).argmax(axis=1)
    assert (predicted == rows.labels.numpy()).mean() == pytest.approx(score)

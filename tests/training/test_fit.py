import json
import warnings
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from omegaconf import DictConfig, OmegaConf, open_dict

from canopy.training.checkpoint import load_checkpoint
from canopy.training.fit import build_run, fit, instantiate_all
from canopy.training.run_folder import RunFolder, publish

pytestmark = pytest.mark.usefixtures("trusted_targets")


def weights(folder: str) -> dict[str, torch.Tensor]:
    return load_checkpoint(Path(folder) / "checkpoints/best.ckpt")["state_dict"]


def test_a_run_leaves_its_checkpoints_logs_and_report(train_config: DictConfig) -> None:
    scores = fit(train_config)
    folder = Path(train_config.run_folder)
    for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "csv/metrics.csv", "schema.json"):
        assert (folder / name).is_file(), name
    assert list(folder.glob("events.out.tfevents.*"))
    report = json.loads((folder / "train.json").read_text())
    assert set(report) == {
        *("train_seconds", "rows_per_second", "epochs", "n_parameters", "device", "n_threads"),
        *("seed", "git_sha"),
    }
    assert (report["epochs"], report["device"], report["seed"]) == (2, "cpu", 42)
    assert scores["val/accuracy"] == pytest.approx(scores["val/accuracy"])
    assert {"val/macro_f1", "val/balanced_accuracy", "val/nll", "val/recall/Plum"} <= set(scores)


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
    logged = (folder / "csv/metrics.csv").read_text().splitlines()
    header = logged[0].split(",")
    epochs = [dict(zip(header, line.split(","), strict=True)) for line in logged[1:]]
    accuracies = {int(row["epoch"]): float(row["val/accuracy"]) for row in epochs if row["val/accuracy"]}
    assert accuracies[best["epoch"]] == max(accuracies.values())
    assert load_checkpoint(folder / "checkpoints/last.ckpt")["epoch"] == 5


def test_entries_set_to_null_are_left_out(train_config: DictConfig) -> None:
    train_config.callbacks.early_stopping = None
    run = build_run(train_config)
    assert "EarlyStopping" not in {type(callback).__name__ for callback in run.trainer.callbacks}
    assert [type(logger) for logger in run.trainer.loggers] == [TensorBoardLogger, CSVLogger]


def test_an_entry_of_another_kind_is_refused() -> None:
    group = OmegaConf.create({"a": {"_target_": "torch.nn.Identity"}})
    with pytest.raises(TypeError, match="Each entry must make a int; found Identity"):
        instantiate_all(group, int)


def test_a_config_cannot_call_any_code(train_config: DictConfig) -> None:
    train_config.callbacks.early_stopping = {"_target_": "json.dumps", "obj": 1}
    with pytest.raises(Exception, match="json.dumps"):
        build_run(train_config)


def test_publishing_replaces_what_is_there(train_config: DictConfig, tmp_path: Path) -> None:
    folder, target = Path(train_config.run_folder), tmp_path / "models" / "trained"
    (folder / ".hydra").mkdir()
    OmegaConf.save(train_config, folder / ".hydra" / "config.yaml")
    fit(train_config)
    target.mkdir(parents=True)
    (target / "old").touch()
    publish(folder, target)
    assert sorted(path.name for path in target.iterdir()) == [
        *(".hydra", "checkpoints", "normalization.json", "schema.json", "train.json")
    ]
    assert RunFolder(target).schema == RunFolder(folder).schema
    assert [path.name for path in target.parent.iterdir()] == ["trained"]


def test_a_folder_without_a_run_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"must hold .hydra/config.yaml; .* logs/train/runs"):
        RunFolder(tmp_path)


def test_training_warns_of_nothing(train_config: DictConfig) -> None:
    with warnings.catch_warnings(record=True) as caught:
        fit(train_config)
    assert [str(warning.message) for warning in caught] == []

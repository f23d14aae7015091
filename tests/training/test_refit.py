from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from canopy.data.dataset import load_rows
from canopy.evaluation.inference import Predictor
from canopy.prepare.preprocessor import Encoded
from canopy.runs.distributed import check_processes
from canopy.runs.fit import fit
from canopy.runs.refit import StepSnapshot
from canopy.runs.run import Run
from canopy.training.checkpoint import load_checkpoint, load_weights
from canopy.training.fit import prepare

pytestmark = pytest.mark.usefixtures("trusted_targets")


def quiet(config: DictConfig, max_steps: int) -> DictConfig:
    """Leave out what saves and validates."""
    config = config.copy()
    config.update(callbacks={}, logger={})
    limits = {"limit_val_batches": 0, "max_epochs": -1, "enable_checkpointing": False, "max_steps": max_steps}
    OmegaConf.update(config, "trainer", limits, force_add=True)
    return config


def test_a_refit_keeps_the_validation_scores_and_predicts_with_all_rows(
    train_config: DictConfig, tmp_path: Path
) -> None:
    """It trains on both splits for the steps that were best."""
    train_config.model.scheduler = None
    plain = train_config.copy()
    plain.run_folder = str(tmp_path / "plain")
    score = fit(plain)
    train_config.refit = True
    assert fit(train_config) == score
    run = Run(train_config.run_folder)
    assert run.record["training"]["refit_seconds"] > 0
    kept = load_weights(run.best_checkpoint, split="val")
    expected = load_weights(Run(plain.run_folder).best_checkpoint)
    assert all(torch.equal(kept[key], expected[key]) for key in expected)
    refitted = load_weights(run.best_checkpoint, split="test")
    assert not torch.equal(refitted["net.layers.0.weight"], kept["net.layers.0.weight"])
    assert not [*run.path.glob("checkpoints/refit.ckpt")]
    rows = load_rows(run.config.data.folder, "val", run.schema).rows
    encoded = Encoded(rows.numeric.numpy(), rows.categorical.numpy())
    predicted = Predictor(run, batch_size=100, split="val").predict(encoded)
    assert np.mean(predicted.argmax(axis=1) == rows.labels.numpy()) == pytest.approx(score)
    assert not np.array_equal(Predictor(run, batch_size=100).predict(encoded), predicted)
    config = quiet(train_config, max_steps=load_checkpoint(run.best_checkpoint)["global_step"])
    OmegaConf.update(config, "data.train_splits", ["train", "val"], force_add=True)
    alone = prepare(config)
    alone.fit()
    for name, weight in alone.model.named_parameters():
        assert torch.equal(weight, refitted[name]), name


def test_a_refit_does_not_depend_on_the_progress_bar(train_config: DictConfig, tmp_path: Path) -> None:
    train_config.refit = True
    average = {"_target_": "lightning.pytorch.callbacks.EMAWeightAveraging", "decay": 0.9}
    OmegaConf.update(train_config, "callbacks.weight_averaging", average, force_add=True)
    found = []
    for progress_bar in (None, {"_target_": "canopy.training.callbacks.progress.TerminalProgressBar"}):
        train_config.callbacks.progress_bar = progress_bar
        train_config.trainer.enable_progress_bar = progress_bar is not None
        train_config.run_folder = str(tmp_path / f"run {len(found)}")
        fit(train_config)
        found.append(load_weights(Run(train_config.run_folder).best_checkpoint))
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_a_snapshot_has_the_weights_of_each_step(train_config: DictConfig) -> None:
    train_config.model.scheduler = None
    steps = {"net.layers.0.": 3, "net.layers.2.": 5}
    snapshot = StepSnapshot(steps)
    run = prepare(quiet(train_config, max_steps=9), snapshot)
    run.fit()
    assert run.trainer.global_step == 5
    for prefix, step in steps.items():
        expected = prepare(quiet(train_config, max_steps=step))
        expected.fit()
        found = {name: weight for name, weight in snapshot.weights.items() if name.startswith(prefix)}
        assert len(found) == 2
        for name, weight in found.items():
            assert torch.equal(weight, expected.model.get_parameter(name)), name


def test_rows_and_frequencies_are_those_of_both_splits(train_config: DictConfig) -> None:
    OmegaConf.update(train_config, "data.train_splits", ["train", "val"], force_add=True)
    data = instantiate(train_config.data)
    train, val = (load_rows(data.folder, split, data.schema).rows for split in ("train", "val"))
    assert torch.equal(data.rows("train").labels, torch.cat([train.labels, val.labels]))
    assert torch.equal(data.rows("train").numeric, torch.cat([train.numeric, val.numeric]))
    counts = torch.bincount(data.rows("train").labels, minlength=len(data.schema.class_names))
    assert data.schema.class_counts["train"] == tuple(counts.tolist())


def test_several_processes_are_refused(train_config: DictConfig) -> None:
    train_config.trainer.update({"devices": 2, "strategy": "ddp"})
    run = prepare(train_config)
    with pytest.raises(ValueError, match=r"A run with refit=true .* must train in one process; got 2"):
        check_processes(run.trainer, refit=True)

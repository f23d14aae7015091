from pathlib import Path

import lightning.pytorch.callbacks
import lightning.pytorch.loggers
import pytest
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from canopy.runs.fit import fit
from canopy.runs.run import Run
from canopy.training.checkpoint import load_checkpoint
from canopy.training.fit import prepare

pytestmark = pytest.mark.usefixtures("trusted_targets")
CALLBACKS = "lightning.pytorch.callbacks"


@pytest.mark.parametrize(
    "limits",
    [
        {"max_steps": 3},
        {"max_steps": 3, "max_epochs": -1},
        {"max_steps": 15, "check_val_every_n_epoch": 2},
        {"val_check_interval": 300, "check_val_every_n_epoch": None},
        {"val_check_interval": "00:01:00:00"},
        {"log_every_n_steps": 0},
        {"max_time": "00:00:00:01", "max_epochs": -1},
    ],
)
def test_fit_validates_at_the_end_of_training(train_config: DictConfig, limits: dict[str, object]) -> None:
    train_config.trainer = {**OmegaConf.to_container(train_config.trainer), **limits}
    if "max_time" in limits:
        train_config.model.scheduler = train_config.callbacks.early_stopping = None
    fit(train_config)
    run = Run(train_config.run_folder)
    assert (run.record["status"], run.record["best"]["monitor"]) == ("finished", "val/accuracy")
    if "max_steps" in limits:
        assert load_checkpoint(run.last_checkpoint)["global_step"] == limits["max_steps"]


def metric(name: str, **options: object) -> dict[str, object]:
    return {"_partial_": True, "_target_": f"torchmetrics.classification.Multiclass{name}", **options}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("trainer.max_epochs", -1, "whose length must be known; got trainer.max_epochs=-1"),
        ("trainer.check_val_every_n_epoch", 9, "must be at most trainer.max_epochs; got 9 and "),
        ("trainer.overfit_batches", 1, "trainer.overfit_batches must be 0; got 1: use debug=overfit"),
        ("trainer.num_nodes", 0, "trainer.num_nodes must be an integer >= 1; found 0"),
        ("trainer.num_nodes", 2, "must be started by torchrun or srun; got trainer.num_nodes=2"),
        ("trainer.accelerator", "tpu", "trainer cannot be built .*; got ModuleNotFoundError: .*xla"),
        ("trainer.max_epoch", 2, "trainer.max_epoch must be an option of .*did you mean 'max_epochs'"),
        ("data.batch_size", 0, "data.batch_size must be an integer >= 1; found 0"),
        ("data.batchsize", 1, "did you mean 'batch_size'"),
        ("model.net.hidden", [8, 0], r"model.net.hidden must be an integer >= 1; found \[8, 0\]"),
        ("model.net.hiden", 1, "model cannot be built as configured; got TypeError: .* 'hiden'"),
        ("model.net.embedding.foo", 1, "model.net.embedding.foo must be an option of .*PeriodicEmbeddings"),
        ("model.optimizer.lr", "fast", "model.optimizer.lr must be a number >= 0; found 'fast'"),
        ("model.optimizer.lrr", 1, "model.optimizer.lrr must be an option of .*did you mean 'lr'"),
        ("model.metrics.accuracy", metric("CohenKappa"), "model.metrics must have new names; got accuracy"),
        ("model.metrics.a", metric("Recall", average=None), "model.metrics.a must compute one number; got 3"),
        ("callbacks.best_checkpoint.save_top_k", 3, "save_top_k must be left out: the best epoch .*; got 3"),
        ("callbacks.best_checkpoint.save_last", True, "save_last must be left out: .*; got True"),
        ("callbacks.best_checkpoint", None, "found no callback that does: keep callbacks.best_checkpoint"),
        ("callbacks.early_stopping.patiance", 3, "did you mean 'patience'"),
        ("callbacks.early_stopping.monitor", "val/acuracy", "did you mean 'val/accuracy'"),
        ("objective.monitor", "val/recal/a", "objective.monitor must be a metric of validation"),
        ("logger.csv.foo", 1, "logger.csv.foo must be an option of .*ResumableCSVLogger; it has"),
        ("logger.x._target_", "torch.nn.Identity", "logger.x must make a Logger; got a Identity"),
        ("callbacks.x._target_", f"{CALLBACKS}.LearningRateFindre", "LearningRateFindre"),
        ("callbacks.x", 3, "callbacks.x must have a _target_"),
    ],
)
def test_fit_refuses_a_config_before_the_first_step(
    train_config: DictConfig, key: str, value: object, message: str
) -> None:
    OmegaConf.update(train_config, key, value, force_add=True)
    with pytest.raises((ValueError, InstantiationException), match=message):
        fit(train_config)
    assert not [*Path(train_config.run_folder).glob("checkpoints/*")]


NO_OPTIONS = ["Callback", "Checkpoint", "LambdaCallback", "LearningRateMonitor", "WeightAveraging"]
NO_OPTIONS += ["EMAWeightAveraging", "ModelSummary", "RichModelSummary", "RichProgressBar", "TQDMProgressBar"]
# Each public callback and logger of Lightning: the options that it needs, or why a run refuses it. Those for
# subclasses alone, or with an account on a server, cannot be built here.
PARTS: dict[str, dict[str, object] | str] = {
    **{name: {} for name in NO_OPTIONS},
    "BackboneFinetuning": "backbone",
    "BatchSizeFinder": "set data.batch_size",
    "DeviceStatsMonitor": {"cpu_stats": True},
    "EarlyStopping": {"monitor": "val/nll"},
    "GradientAccumulationScheduler": {"scheduling": {0: 2}},
    "LearningRateFinder": "sweep model.optimizer.lr",
    "ModelCheckpoint": {"dirpath": "${run_folder}/more", "monitor": "val/nll"},
    "ModelPruning": "use src/compress.py",
    "OnExceptionCheckpoint": {"dirpath": "${run_folder}/more"},
    "SpikeDetection": {"warmup": 1},
    "StochasticWeightAveraging": "EMAWeightAveraging",
    "ThroughputMonitor": "missing 1 required positional argument: 'batch_size_fn'",
    "Timer": {"duration": "00:00:10:00"},
    "CSVLogger": {"save_dir": "${run_folder}/more"},
    "MLFlowLogger": {"tracking_uri": "sqlite:///${run_folder}/mlflow.db"},
    "TensorBoardLogger": {"save_dir": "${run_folder}/more"},
}
NEEDED = {"ModelPruning": {"pruning_fn": "l1_unstructured"}, "StochasticWeightAveraging": {"swa_lrs": 0.1}}
NOT_BUILT = {"BaseFinetuning", "BasePredictionWriter", "ProgressBar", "Logger"}
NEED_A_SERVER = {"CometLogger", "LitLogger", "WandbLogger"}


def test_parts_lists_all_of_lightning() -> None:
    public = {*lightning.pytorch.callbacks.__all__, *lightning.pytorch.loggers.__all__}
    assert public - NOT_BUILT - NEED_A_SERVER == PARTS.keys()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PARTS)
def test_lightning_part_works_or_is_refused_with_a_reason(train_config: DictConfig, name: str) -> None:
    group = "logger" if name in lightning.pytorch.loggers.__all__ else "callbacks"
    expected = PARTS[name]
    options = NEEDED.get(name, {}) if isinstance(expected, str) else expected
    part = {"_target_": f"lightning.pytorch.{group.rstrip('s')}s.{name}", **options}
    OmegaConf.update(train_config, f"{group}.x", part, force_add=True)
    train_config.trainer.enable_progress_bar = "ProgressBar" in name
    if isinstance(expected, str):
        with pytest.raises((ValueError, InstantiationException), match=expected):
            fit(train_config)
        return
    fit(train_config)
    assert Run(train_config.run_folder).record["status"] == "finished"


@pytest.mark.parametrize("kind", ["WeightAveraging", "EMAWeightAveraging"])
def test_averaged_weights_are_in_the_best_checkpoint(train_config: DictConfig, kind: str) -> None:
    OmegaConf.update(train_config, "callbacks.x", {"_target_": f"{CALLBACKS}.{kind}"}, force_add=True)
    fit(train_config)
    saved = Run(train_config.run_folder)
    train_config.callbacks.x = train_config.logger = None
    run = prepare(train_config)
    run.model.load_state_dict(load_checkpoint(saved.best_checkpoint)["state_dict"])
    run.trainer.validate(run.model, datamodule=run.data, verbose=False)
    for name, value in saved.record["best"]["metrics"].items():
        assert float(run.trainer.callback_metrics[name]) == pytest.approx(value, abs=1e-6), name

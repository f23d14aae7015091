from pathlib import Path

import lightning.pytorch.callbacks
import lightning.pytorch.loggers
import pytest
from omegaconf import DictConfig, OmegaConf

from canopy.runs.fit import fit
from canopy.runs.run import Run
from canopy.training.checkpoint import load_checkpoint
from canopy.training.fit import prepare

pytestmark = pytest.mark.usefixtures("trusted_targets")


@pytest.mark.parametrize(
    "limits",
    [
        {"max_steps": 3},
        {"max_steps": 3, "max_epochs": -1},
        {"max_steps": 15, "check_val_every_n_epoch": 2},
        {"val_check_interval": 300, "check_val_every_n_epoch": None},
        {"val_check_interval": "00:01:00:00"},
        {"log_every_n_steps": 0},
    ],
)
def test_fit_validates_at_the_end_of_training(train_config: DictConfig, limits: dict[str, object]) -> None:
    train_config.trainer = {**OmegaConf.to_container(train_config.trainer), **limits}
    fit(train_config)
    record = Run(train_config.run_folder).record
    assert (record["status"], record["best"]["monitor"]) == ("finished", "val/accuracy")
    if "max_steps" in limits:
        last = load_checkpoint(Run(train_config.run_folder).last_checkpoint)
        assert last["global_step"] == limits["max_steps"]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"check_val_every_n_epoch": 3}, "got trainer.check_val_every_n_epoch=3, but training ends after 2"),
        ({"max_steps": 5, "check_val_every_n_epoch": 2}, "but training ends after 1 epochs"),
        ({"max_epochs": 0}, "trainer.max_epochs must be above 0; got 0"),
        ({"limit_val_batches": 0}, "trainer.limit_val_batches must be above 0; got 0"),
        ({"limit_train_batches": 0.0}, "trainer.limit_train_batches must be above 0; got 0.0"),
        ({"max_epochs": -1}, "whose length must be known; got trainer.max_epochs=-1"),
        ({"overfit_batches": 1}, "trainer.overfit_batches must be 0; got 1: use debug=overfit"),
        ({"num_nodes": 2}, "trainer.num_nodes must be 1; got 2"),
        ({"use_distributed_sampler": True}, "trainer.use_distributed_sampler must be False; got True"),
        ({"strategy": "ddp_spawn", "devices": 2}, "got one that forks or spawns them"),
        (
            {"accelerator": "tpu"},
            "trainer cannot be built as configured; got ModuleNotFoundError: .*torch_xla",
        ),
        (
            {"max_epoch": 2},
            "trainer.max_epoch must be an option of lightning.Trainer .did you mean 'max_epochs'",
        ),
    ],
)
def test_fit_refuses_limits_before_the_first_step(
    train_config: DictConfig, limits: dict[str, object], message: str
) -> None:
    train_config.trainer = {**OmegaConf.to_container(train_config.trainer), **limits}
    with pytest.raises(ValueError, match=message):
        fit(train_config)
    assert not [*Path(train_config.run_folder).glob("checkpoints/*")]


def test_fit_without_a_last_epoch_ends_at_the_limit_of_time(train_config: DictConfig) -> None:
    OmegaConf.update(train_config, "trainer.max_time", "00:00:00:01", force_add=True)
    train_config.trainer.max_epochs = -1
    train_config.model.scheduler = None
    train_config.callbacks.early_stopping = None
    fit(train_config)
    assert Run(train_config.run_folder).record["status"] == "finished"


LIGHTNING = "lightning.pytorch.callbacks"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "entry", "message"),
    [
        ("callbacks.early_stopping.patiance", 3, "did you mean 'patience'"),
        ("callbacks.best_checkpoint.mod", "max", "callbacks.best_checkpoint.mod must be .* 'mode'"),
        ("callbacks.early_stopping.monitor", "val/acuracy", "did you mean 'val/accuracy'"),
        ("objective.monitor", "val/recal/a", "objective.monitor must be a metric of validation"),
        ("logger.csv.foo", 1, "logger.csv.foo must be an option of .*ResumableCSVLogger; it has"),
        ("logger.x._target_", "lightning.pytorch.loggers.NeptuneLogger", "logger.x cannot be built"),
        ("logger.x._target_", f"{LIGHTNING}.Timer", "logger.x must make a Logger; got a Timer"),
        ("callbacks.x._target_", f"{LIGHTNING}.LearningRateFindre", "did you mean 'LearningRateFinder'"),
        (
            "callbacks.x._target_",
            f"{LIGHTNING}.BaseFinetuning",
            "callbacks.x failed; got NotImplementedError",
        ),
        ("callbacks.x", 3, "callbacks.x must have a _target_"),
        ("model.net.embedding.foo", 1, "model.net.embedding.foo must be an option of .*PeriodicEmbeddings"),
        ("model.optimizer.lrr", 1, "model.optimizer.lrr must be an option of .*MuonAdamW .did you mean 'lr'"),
        ("model.scheduler.max_lr", "abc", "model.scheduler cannot be built as configured; got TypeError"),
        ("data.batchsize", 1, "did you mean 'batch_size'"),
    ],
)
def test_fit_names_the_key_of_a_mistake(
    train_config: DictConfig, key: str, entry: object, message: str
) -> None:
    OmegaConf.update(train_config, key, entry, force_add=True)
    with pytest.raises(ValueError, match=message) as error:
        fit(train_config)
    assert "\n" not in str(error.value)


# Each public callback and logger of Lightning: the options that it needs, or why a run refuses it. Those for
# subclasses alone, or with an account on a server, cannot be built here.
PARTS: dict[str, dict[str, object] | str] = {
    "BackboneFinetuning": "needs a model with a backbone",
    "BatchSizeFinder": "set data.batch_size",
    "Callback": {},
    "Checkpoint": {},
    "DeviceStatsMonitor": {"cpu_stats": True},
    "EMAWeightAveraging": {},
    "EarlyStopping": {"monitor": "val/nll"},
    "GradientAccumulationScheduler": {"scheduling": {0: 2}},
    "LambdaCallback": {},
    "LearningRateFinder": "sweep model.optimizer.lr",
    "LearningRateMonitor": {},
    "ModelCheckpoint": {"dirpath": "${run_folder}/more", "monitor": "val/nll"},
    "ModelPruning": "use src/compress.py",
    "ModelSummary": {},
    "OnExceptionCheckpoint": {"dirpath": "${run_folder}/more"},
    "RichModelSummary": {},
    "RichProgressBar": {},
    "SpikeDetection": {"warmup": 1},
    "StochasticWeightAveraging": "EMAWeightAveraging",
    "TQDMProgressBar": {},
    "ThroughputMonitor": "missing 1 required positional argument: 'batch_size_fn'",
    "Timer": {"duration": "00:00:10:00"},
    "WeightAveraging": {},
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
    group = "loggers" if name in lightning.pytorch.loggers.__all__ else "callbacks"
    expected = PARTS[name]
    options = NEEDED.get(name, {}) if isinstance(expected, str) else expected
    part = {"_target_": f"lightning.pytorch.{group}.{name}", **options}
    OmegaConf.update(train_config, f"{group.replace('loggers', 'logger')}.x", part, force_add=True)
    train_config.trainer.enable_progress_bar = "ProgressBar" in name
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            fit(train_config)
        return
    fit(train_config)
    assert Run(train_config.run_folder).record["status"] == "finished"


@pytest.mark.parametrize("kind", ["WeightAveraging", "EMAWeightAveraging"])
def test_averaged_weights_are_in_the_best_checkpoint(train_config: DictConfig, kind: str) -> None:
    OmegaConf.update(train_config, "callbacks.x", {"_target_": f"{LIGHTNING}.{kind}"}, force_add=True)
    fit(train_config)
    saved = Run(train_config.run_folder)
    train_config.callbacks.x = train_config.logger = None
    run = prepare(train_config)
    run.model.load_state_dict(load_checkpoint(saved.best_checkpoint)["state_dict"])
    run.trainer.validate(run.model, datamodule=run.data, verbose=False)
    for name, value in saved.record["best"]["metrics"].items():
        assert float(run.trainer.callback_metrics[name]) == pytest.approx(value, abs=1e-6), name

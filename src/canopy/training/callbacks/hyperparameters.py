"""Show a run's config and its results in TensorBoard: as text and in the HParams tab."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from omegaconf.resolvers import oc
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from canopy.training.callbacks.best_checkpoint import BestCheckpoint

# The sections that a person compares runs by.
SECTIONS = ("seed", "data", "model", "trainer")

# What in them makes no other model: where files are, what is shown, how fast it goes; and the seed's copy.
LEFT_OUT = {
    "data.eval_batch_size",
    "data.folder",
    "data.n_workers",
    "data.seed",
    "model.compile",
    "model.optimizer.fused",
    "trainer.check_val_every_n_epoch",
    "trainer.default_root_dir",
    "trainer.deterministic",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.fast_dev_run",
    "trainer.log_every_n_steps",
    "trainer.plugins",
    "trainer.profiler",
    "trainer.use_distributed_sampler",
}

SESSION_SUFFIX = ".hparams"


class HyperparameterLog(Callback):
    """Log the config as text when a run starts, and its hyperparameters and result when it ends.

    The result is each validation metric of the best epoch, `best/...`, and the one that chose the epoch,
    `hp_metric`.

    Args:
        config: The composed config of the run.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config = config

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step:
            return  # a resumed run has it
        for logger in tensorboards(trainer):
            logger.experiment.add_text("config", describe_config(self.config))
        for tracker in _trackers(trainer):
            tracker.log_hyperparams(flatten(self.config))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics: dict[str, float] = {}
        best = trainer.checkpoint_callback
        if isinstance(best, BestCheckpoint) and best.best_model_score is not None:
            metrics = {
                f"best/{name.removeprefix('val/')}": value for name, value in best.best_metrics.items()
            }
            metrics["hp_metric"] = float(best.best_model_score)
        for logger in tensorboards(trainer):
            write_session(Path(logger.log_dir), flatten(self.config), metrics, step=trainer.global_step)
        for tracker in _trackers(trainer):
            tracker.log_metrics(metrics, step=trainer.global_step)


def tensorboards(trainer: Trainer) -> list[TensorBoardLogger]:
    """Find the TensorBoard loggers of a Trainer, none on other processes than the first."""
    if not trainer.is_global_zero:
        return []
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def _trackers(trainer: Trainer) -> list[Logger]:
    """Find the loggers that are no files of the run's folder, where its config is anyway."""
    return [logger for logger in trainer.loggers if not isinstance(logger, TensorBoardLogger | CSVLogger)]


def describe_config(config: DictConfig) -> str:
    r"""Write a config as a block of code in Markdown, what the data was made by at its end.

    Examples:
        >>> describe_config(OmegaConf.create({"pipeline": {"seed": 42}, "seed": "${pipeline.seed}"}))
        '    seed: 42\n    pipeline:\n      seed: 42'
    """
    values = resolve(config)
    assert isinstance(values, dict)
    ordered = sorted(values, key=lambda name: name == "pipeline")
    text = yaml.safe_dump({name: values[name] for name in ordered}, sort_keys=False, allow_unicode=True)
    return "\n".join(f"    {line}" for line in text.splitlines())


def resolve(config: DictConfig) -> Any:
    """Give a config's content with its interpolations resolved, but for the environment, which has secrets.

    Examples:
        >>> resolve(OmegaConf.create({"a": 1, "b": "${a}", "home": "${oc.env:HOME}"}))
        {'a': 1, 'b': 1, 'home': '(HOME of the environment)'}
    """
    OmegaConf.register_resolver("oc.env", lambda name, *_: f"({name} of the environment)", replace=True)
    try:
        return OmegaConf.to_container(config, resolve=True)
    finally:
        OmegaConf.register_resolver("oc.env", oc.env, replace=True, annotation_validation="off")


def write_session(
    folder: Path, hyperparameters: Mapping[str, Any], metrics: Mapping[str, float], *, step: int
) -> None:
    """Write a run's row of the HParams tab, in place of the one from before it was resumed.

    Args:
        folder: Folder of the run's event files.
        hyperparameters: The row's hyperparameters by name.
        metrics: Its metrics by name.
        step: Step that the metrics are shown at.
    """
    # TensorBoard keeps the first row that it reads for a run.
    for earlier in folder.glob(f"events.*{SESSION_SUFFIX}"):
        earlier.unlink()
    # Without torch's summary of the experiment: TensorBoard would take the first run's for all, so that
    # hyperparameters which that run does not have were missing, and would not show first what differs.
    _, start, end = hparams(dict(hyperparameters), {})  # type: ignore[no-untyped-call]
    with SummaryWriter(folder, filename_suffix=SESSION_SUFFIX) as writer:
        for name, value in metrics.items():
            writer.add_scalar(name, value, step)
        writer.file_writer.add_summary(start)
        writer.file_writer.add_summary(end)


def flatten(config: DictConfig) -> dict[str, float | str]:
    """Give the hyperparameters of a config under dotted keys; what is made by code, by the name of the class.

    Examples:
        >>> model = {"net": {"_target_": "canopy.nets.mlp.MLP", "hidden": [8, 8], "embedding": None}}
        >>> flatten(OmegaConf.create({"seed": 1, "data": {"folder": "a"}, "model": model, "trainer": {}}))
        {'seed': 1, 'model.net': 'MLP', 'model.net.hidden': '[8, 8]', 'model.net.embedding': 'null'}
    """
    flat: dict[str, float | str] = {}

    def visit(key: str, value: Any) -> None:
        if key in LEFT_OUT:
            return
        if isinstance(value, dict):
            if "_target_" in value and key not in SECTIONS:
                flat[key] = value["_target_"].rpartition(".")[2]
            for name, item in value.items():
                if not str(name).startswith("_"):
                    visit(f"{key}.{name}", item)
        elif isinstance(value, bool) or value is None:
            # Shown as words: TensorBoard would show 1.0, and take a missing value for one like all others.
            flat[key] = {True: "true", False: "false", None: "null"}[value]
        else:
            flat[key] = value if isinstance(value, int | float | str) else str(value)

    for section in SECTIONS:
        value = config[section]
        visit(section, resolve(value) if OmegaConf.is_config(value) else value)
    return flat

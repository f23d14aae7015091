"""Show a run's config and what came of it in TensorBoard: as text and in the HParams tab."""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf

# The sections that a person compares runs by.
SECTIONS = ("data", "model", "trainer", "seed")


class HyperparameterLog(Callback):
    """Log the config as text when a run starts, and its hyperparameters and result when it ends.

    Args:
        config: The composed config of the run.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config = config

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step:
            return  # a resumed run has it
        text = "\n".join(f"    {line}" for line in OmegaConf.to_yaml(self.config).splitlines())
        for logger in tensorboards(trainer):
            logger.experiment.add_text("config", text)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = {
            f"last/{name.removeprefix('val/')}": float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/")
        }
        best = trainer.checkpoint_callback
        if isinstance(best, ModelCheckpoint) and best.best_model_score is not None:
            metrics["hp_metric"] = float(best.best_model_score)
        for logger in tensorboards(trainer):
            logger.log_hyperparams(flatten(self.config), metrics, trainer.global_step)


def tensorboards(trainer: Trainer) -> list[TensorBoardLogger]:
    """Find the TensorBoard loggers of a Trainer, none on other processes than the first."""
    if not trainer.is_global_zero:
        return []
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def flatten(config: DictConfig) -> dict[str, Any]:
    """Give the values of the compared sections under dotted keys, without what only names code.

    Examples:
        >>> flatten(OmegaConf.create({"seed": 1, "model": {"_partial_": True, "lr": 0.1, "hidden": [8, 8]}}))
        {'model.lr': 0.1, 'model.hidden': '[8, 8]', 'seed': 1}
    """
    flat: dict[str, Any] = {}

    def visit(key: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, item in value.items():
                if not str(name).startswith("_") and name not in {"default_root_dir", "plugins"}:
                    visit(f"{key}.{name}", item)
        elif value is not None:
            flat[key] = value if isinstance(value, bool | int | float | str) else str(value)

    for section in SECTIONS:
        value = OmegaConf.select(config, section)
        visit(section, OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value)
    return flat

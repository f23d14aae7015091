"""What a training config must hold before anything is built of it; libraries report it late or not at all."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from omegaconf import DictConfig, ListConfig, OmegaConf

from canopy.errors import nearest_or_all
from canopy.tasks.scores import Scores

# Key: kind of the number, its least value. Where a list is allowed, each of its items.
NUMBERS: dict[str, tuple[type, float]] = {
    "seed": (int, 0),
    "n_threads": (int, 1),
    "trainer.max_epochs": (int, -1),
    "trainer.log_every_n_steps": (int, 0),
    "trainer.gradient_clip_val": (float, 0),
    "data.batch_size": (int, 1),
    "data.eval_batch_size": (int, 1),
    "data.n_workers": (int, 0),
    "model.optimizer.lr": (float, 0),
    "model.net.hidden": (int, 1),
    "model.loss.label_smoothing": (float, 0),
    "callbacks.early_stopping.patience": (int, 0),
}
KINDS = {int: "an integer", float: "a number"}

# What Lightning's Trainer offers and a run does not.
UNSUPPORTED = (
    ("trainer.overfit_batches", 0, "use debug=overfit"),
    ("trainer.num_nodes", 1, "a run trains on the devices of one machine"),
    ("trainer.use_distributed_sampler", False, "the loaders share the rows among the devices themselves"),
)


def check_training_config(cfg: DictConfig) -> None:
    """Refuse a config with a number out of range, or an option of the Trainer that is not supported.

    Args:
        cfg: The composed config of `configs/train.yaml`.

    Raises:
        ValueError: If there is one.

    Examples:
        >>> check_training_config(OmegaConf.create({"data": {"batch_size": 0}}))
        Traceback (most recent call last):
        ...
        ValueError: data.batch_size must be an integer >= 1; found 0
    """
    for key, (kind, least) in NUMBERS.items():
        value = OmegaConf.select(cfg, key)
        for number in value if isinstance(value, ListConfig) else [value]:
            if number is not None and not _is_number(number, kind, least):
                found = list(value) if isinstance(value, ListConfig) else value
                raise ValueError(f"{key} must be {KINDS[kind]} >= {least:g}; found {found!r}")
    for key, value, reason in UNSUPPORTED:
        if OmegaConf.select(cfg, key) not in (None, value):
            raise ValueError(f"{key} must be {value}; got {OmegaConf.select(cfg, key)}: {reason}")


def check_monitors(cfg: DictConfig, class_names: Sequence[str]) -> None:
    """Refuse a metric that validation does not have, before an epoch is trained.

    Args:
        cfg: The composed config, whose objective and callbacks may name metrics.
        class_names: Names of the classes.

    Raises:
        ValueError: If there is no such metric.
    """
    confusion = np.eye(len(class_names), dtype=np.int64)
    further = dict.fromkeys(map(str, OmegaConf.select(cfg, "model.metrics") or ()), 0.0)
    scores = Scores(class_names=tuple(class_names), confusion=confusion, nll=0.0, ece=0.0, further=further)
    names = [f"val/{name}" for name in scores.summary()]
    monitors = {
        f"callbacks.{name}.monitor": OmegaConf.select(cfg, f"callbacks.{name}.monitor")
        for name in cfg.callbacks or ()
    }
    for key, monitor in {"objective.monitor": cfg.objective.monitor, **monitors}.items():
        if isinstance(monitor, str) and monitor.startswith("val/") and monitor not in names:
            raise ValueError(
                f"{key} must be a metric of validation; got {monitor!r}{nearest_or_all(monitor, names)}"
            )


def _is_number(value: Any, kind: type, least: float) -> bool:
    kinds = (int,) if kind is int else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and value >= least

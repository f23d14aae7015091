"""What a training config must hold before anything is built of it; libraries tell it late or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from omegaconf import DictConfig, ListConfig, OmegaConf

from canopy.evaluation.scores import Scores

# Key: kind of the number, its least value. Where a list may stand, each of its items.
NUMBERS: dict[str, tuple[type, float]] = {
    "seed": (int, 0),
    "trainer.max_epochs": (int, -1),
    "trainer.gradient_clip_val": (float, 0),
    "data.batch_size": (int, 1),
    "data.eval_batch_size": (int, 1),
    "data.n_workers": (int, 0),
    "model.optimizer.lr": (float, 0),
    "model.net.hidden": (int, 1),
    "callbacks.early_stopping.patience": (int, 0),
}
KINDS = {int: "a whole number", float: "a number"}


def check_training_config(cfg: DictConfig) -> None:
    """Refuse a config with a number that cannot be meant, or an objective that nothing is known of.

    Args:
        cfg: The composed config of `configs/train.yaml`.

    Raises:
        ValueError: If a number is none, or too small, or validation has no such score.

    Examples:
        >>> check_training_config(OmegaConf.create({"data": {"batch_size": 0}}))
        Traceback (most recent call last):
        ...
        ValueError: data.batch_size must be a whole number from 1 on; found 0
    """
    for key, (kind, least) in NUMBERS.items():
        value = OmegaConf.select(cfg, key)
        for number in value if isinstance(value, ListConfig) else [value]:
            if number is not None and not _is_number(number, kind, least):
                found = list(value) if isinstance(value, ListConfig) else value
                raise ValueError(f"{key} must be {KINDS[kind]} from {least:g} on; found {found!r}")
    monitor = OmegaConf.select(cfg, "objective.monitor")
    names = [f"val/{name}" for name in _no_scores().summary()]
    if monitor is not None and monitor.startswith("val/") and monitor not in names:
        raise ValueError(
            f"objective.monitor must be a score of validation, {', '.join(names)}; found {monitor!r}"
        )


def _is_number(value: Any, kind: type, least: float) -> bool:
    kinds = (int,) if kind is int else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and value >= least


def _no_scores() -> Scores:
    return Scores(class_names=("", ""), confusion=np.eye(2, dtype=np.int64), nll=0.0, ece=0.0)


@contextmanager
def naming(section: str) -> Iterator[None]:
    """Say which section of the config is meant when a block cannot build what the section describes.

    Raises:
        ValueError: In place of what a library raises when it is given a value of the wrong kind.
    """
    try:
        yield
    except (TypeError, RuntimeError, AssertionError) as error:
        raise ValueError(
            f"The section {section} of the config must describe what can be built; found: {error}: see its "
            "files in configs/, or --cfg job"
        ) from error

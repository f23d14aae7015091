"""What a training config must hold before anything is built of it; libraries report it late or not at all."""

from collections.abc import Sequence

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
# What Lightning's Trainer offers and a run does not.
UNSUPPORTED = (
    ("trainer.overfit_batches", 0, "use debug=overfit"),
    ("trainer.num_nodes", 1, "a run trains on the devices of one machine"),
    ("trainer.use_distributed_sampler", False, "the loaders share the rows among the devices themselves"),
)


def check_training_config(cfg: DictConfig) -> None:
    """Refuse a config with a number out of range, or an option of the Trainer that is not supported."""
    for key, (kind, least) in NUMBERS.items():
        value = OmegaConf.select(cfg, key)
        kinds = {int, kind}
        for number in value if isinstance(value, ListConfig) else [value]:
            if number is not None and not (type(number) in kinds and number >= least):
                name = "an integer" if kind is int else "a number"
                raise ValueError(f"{key} must be {name} >= {least:g}; found {value!r}")
    for key, only, reason in UNSUPPORTED:
        if (value := OmegaConf.select(cfg, key)) not in (None, only):
            raise ValueError(f"{key} must be {only}; got {value}: {reason}")
    every, n_epochs = (
        OmegaConf.select(cfg, f"trainer.{name}") for name in ("check_val_every_n_epoch", "max_epochs")
    )
    if every is not None and n_epochs not in (None, -1) and every > n_epochs:
        raise ValueError(
            f"trainer.check_val_every_n_epoch must be at most trainer.max_epochs={n_epochs}; got {every}: "
            "validation chooses the best epoch"
        )


def check_monitors(cfg: DictConfig, class_names: Sequence[str]) -> None:
    """Refuse a metric of the objective or of a callback that validation does not have."""
    confusion = np.eye(len(class_names), dtype=np.int64)
    further = dict.fromkeys(map(str, OmegaConf.select(cfg, "model.metrics") or ()), 0.0)
    scores = Scores(class_names=tuple(class_names), confusion=confusion, nll=0.0, ece=0.0, further=further)
    names = [f"val/{name}" for name in scores.summary()]
    for key in ("objective", *(f"callbacks.{name}" for name in cfg.callbacks or ())):
        monitor = OmegaConf.select(cfg, f"{key}.monitor")
        if isinstance(monitor, str) and monitor.startswith("val/") and monitor not in names:
            raise ValueError(
                f"{key}.monitor must be a metric of validation; got {monitor!r}"
                f"{nearest_or_all(monitor, names)}"
            )

"""Read the config of a run, also one that an earlier version wrote."""

import io
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

# Former names, and those that took their place.
RENAMED = {
    "canopy.callbacks.": "canopy.training.callbacks.",
    "canopy.loggers.": "canopy.training.loggers.",
    "ConfusionMatrixPicture": "ConfusionMatrixPlot",
    "prior_correction": "logit_adjustment",
    "\nrepeat:": "\nreproduce:",
}
# Without them, the file was cut off.
SECTIONS = ("pipeline", "data", "model")
RESTORE = 'restore it ("dvc checkout" where DVC keeps it) or train again'


def load_config(path: Path) -> DictConfig:
    """Read the config of a run.

    Raises:
        ValueError: If the file holds anything but a mapping of plain values, or lacks a section.
    """
    try:
        text = path.read_text(encoding="utf-8")
        for old, new in RENAMED.items():
            text = text.replace(old, new)
        config = OmegaConf.load(io.StringIO(text))
    except (YAMLError, UnicodeError) as error:
        raise ValueError(
            f"{path} must be YAML of plain values; found {' '.join(str(error).split())}: {RESTORE}"
        ) from error
    for section in SECTIONS:
        if not isinstance(config, DictConfig) or section not in config:
            raise ValueError(f"{path} must have the section {section}; found none: {RESTORE}")
    assert isinstance(config, DictConfig)
    if (smoothing := config.model.pop("label_smoothing", None)) is not None:
        # An earlier version had no other loss.
        cross_entropy = {"_partial_": True, "_target_": "torch.nn.functional.cross_entropy"}
        config.model.loss = {**cross_entropy, "label_smoothing": smoothing}
    return config

"""Stage `compose`: write the training config of the pipeline's experiment; DVC trains again if it changes."""

import logging
from pathlib import Path
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from canopy.files import write_text
from canopy.params import mount_train, parse_train_overrides

log = logging.getLogger(__name__)

# The sections that make the model; the others place files.
SECTIONS = ("data", "model", "trainer", "callbacks", "objective", "seed")

# What only shows or saves: a change of it is no reason to train again.
DISPLAY = {
    "callbacks": "confusion_matrix epoch_log histograms learning_rate progress_bar resume_checkpoint",
    "trainer": "enable_model_summary enable_progress_bar log_every_n_steps",
}
HEADER = "# Written by the stage compose: the training config of the pipeline's experiment.\n"


def run(params: DictConfig) -> None:
    """Compose the config of `train.experiment` with `train.overrides` and write its sections."""
    overrides = [str(override.input_line) for override in parse_train_overrides(params.train.overrides)]
    # Overrides that are typed are checked; what a config holds, Hydra takes as it is.
    without = params.copy()
    without.train.overrides = ""
    mount_train(without)
    compose("train", [f"experiment={params.train.experiment}", *overrides])
    mount_train(params)
    cfg = compose("train")
    # Unresolved: a preset's values depend on tensors, which need not be there yet.
    content: Any = OmegaConf.to_container(OmegaConf.masked_copy(cfg, list(SECTIONS)))
    for section, names in DISPLAY.items():
        for name in names.split():
            content[section].pop(name, None)
    path = Path(params.paths.reports) / "train_config.yaml"
    write_text(path, HEADER + OmegaConf.to_yaml(OmegaConf.create(content)))
    log.info("Composed %s: %s", " ".join([params.train.experiment, *overrides]), path)

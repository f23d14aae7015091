"""Several processes that train one run: the first decides and logs, the Trainer starts the others."""

import logging
import os
from contextlib import suppress

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning import Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from canopy.runs.run import Run
from canopy.training.callbacks.resume_checkpoint import TrainingStopped
from canopy.training.fit import prepare

# Where the first process names its run's folder to the others.
RUN_VARIABLE = "CANOPY_RUN_FOLDER"


def log_once() -> None:
    """Remove the log handlers that would show messages a second time; log files stay as they are."""
    # Lightning's own handler, next to the root logger's.
    logging.getLogger("lightning").handlers.clear()
    if os.environ.get("LOCAL_RANK", "0") != "0":
        root = logging.getLogger()
        root.handlers = [handler for handler in root.handlers if isinstance(handler, logging.FileHandler)]


def fit_in_further_process() -> float:
    """Train in another process than the first, which has chosen the config and reports the score."""
    if RUN_VARIABLE not in os.environ:
        raise ValueError("A run must start its processes itself; got torchrun or srun: leave it out")
    log_once()
    run = Run(os.environ[RUN_VARIABLE])
    cfg = run.config
    cfg.run_folder = str(run.path)
    with suppress(TrainingStopped):
        prepare(cfg).fit(run.last_checkpoint if run.last_checkpoint.is_file() else None)
    return float("nan")


def check_processes(trainer: Trainer, *, refit: bool = False) -> None:
    """Refuse strategies that fork, and several processes in a refit or a multirun, which they would rerun."""
    launcher = trainer.strategy.launcher
    if launcher is not None and not isinstance(launcher, _SubprocessScriptLauncher):
        raise ValueError("trainer.strategy must be one as ddp; got one that forks or spawns them")
    in_multirun = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    if trainer.world_size > 1 and (refit or in_multirun):
        raise ValueError(
            "A run with refit=true or of a multirun must train in one process; got "
            f"{trainer.world_size}: set trainer.devices=1"
        )

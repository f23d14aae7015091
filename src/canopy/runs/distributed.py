"""Several processes that train one run: the first decides and logs, the Trainer starts the others."""

import logging
import os
from contextlib import suppress
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning import Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from canopy.runs.run import Run
from canopy.training.callbacks.resume_checkpoint import TrainingStopped
from canopy.training.fit import fit

# Where the first process names its run's folder to the others.
RUN_VARIABLE = "CANOPY_RUN_FOLDER"


def log_once() -> None:
    """Remove the log handlers that would show messages a second time; log files stay as they are."""
    # Lightning's own handler, next to the root logger's.
    logging.getLogger("lightning").handlers.clear()
    if os.environ.get("LOCAL_RANK", "0") != "0":
        root = logging.getLogger()
        root.handlers = [handler for handler in root.handlers if isinstance(handler, logging.FileHandler)]


def name_run_folder(folder: Path) -> None:
    """Tell the processes that the Trainer starts which run they train."""
    os.environ[RUN_VARIABLE] = str(folder.resolve())


def fit_in_further_process() -> float:
    """Train in another process than the first, with the config and the checkpoint that the first has chosen.

    Raises:
        ValueError: If another launcher than the Trainer's has started this process.
    """
    if RUN_VARIABLE not in os.environ:
        raise ValueError(
            "The processes of a run must be started by its Trainer; got one that another launcher started: "
            "run python src/train.py trainer=ddp, without torchrun or srun"
        )
    log_once()
    run = Run(os.environ[RUN_VARIABLE])
    cfg = run.config
    cfg.run_folder = str(run.path)
    # The first process ends the run, and reports its score.
    with suppress(TrainingStopped):
        return fit(cfg, checkpoint=run.last_checkpoint if run.last_checkpoint.is_file() else None)
    return float("nan")


def check_processes(trainer: Trainer, *, refit: bool = False) -> None:
    """Refuse a strategy that forks or spawns its processes, and several processes where a run must have one.

    Raises:
        ValueError: If there is one: processes of a multirun's job would run the whole multirun again.
    """
    launcher = trainer.strategy.launcher
    if launcher is not None and not isinstance(launcher, _SubprocessScriptLauncher):
        raise ValueError(
            "trainer.strategy must be one that starts its processes as commands; got one that forks or "
            "spawns them: use trainer.strategy=ddp"
        )
    in_multirun = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    for is_one, kind, hint in (
        (refit, "with refit=true", "refit=false"),
        (in_multirun, "of a multirun", "start the runs one by one"),
    ):
        if is_one and trainer.world_size > 1:
            raise ValueError(
                f"A run {kind} must train in one process; got {trainer.world_size}: set trainer.devices=1, "
                f"or {hint}"
            )

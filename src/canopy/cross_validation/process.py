"""The process of one fold: prepare its tensors, train, evaluate."""

import logging
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cloudpickle
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import configure_log
from hydra.utils import execution_whitelist
from omegaconf import DictConfig, OmegaConf

from canopy.errors import MISTAKES, message_of, root_cause
from canopy.processes import end_with_parent
from canopy.quoting import write_override
from canopy.runs.entry import TRUSTED_TARGETS, log_warnings
from canopy.runs.run import METRICS, RECORD, Run
from canopy.runs.run_folder import check_written_paths

log = logging.getLogger(__name__)

# Of an evaluation: plots, which take longer than all else (`src/evaluate.py` draws them), and progress.
LEFT_OUT = ("confusion_matrix", "plots", "progress_bar")

SECONDS_TO_END = 60


def work(common: bytes, errors: "Connection[str, str]") -> None:
    """Do a fold: the first function of a new process, which sends its parent what went wrong."""
    cfg, overrides, state = cloudpickle.loads(common)
    # What libraries that compute in parallel read when they are imported.
    os.environ["OMP_NUM_THREADS"] = str(cfg.n_threads)
    Singleton.set_state(state)
    # Ctrl-C reaches the parent alone, which sends SIGTERM: a second signal would end the folds at once.
    os.setsid()
    end_with_parent()
    log_warnings()
    try:
        with execution_whitelist(TRUSTED_TARGETS):
            log_to(Path(cfg.run_folder))
            run_fold(cfg, overrides)
    except Exception as error:
        cause = root_cause(error)
        log.error("%s", message_of(cause), exc_info=not isinstance(cause, MISTAKES))
        errors.send(message_of(cause))
        raise SystemExit(1) from error


def log_to(folder: Path) -> None:
    """Log as the command does, with the name of the fold on the terminal, and into the fold's own file."""
    folder.mkdir(parents=True, exist_ok=True)
    hydra = HydraConfig.get()
    config: Any = OmegaConf.to_container(hydra.job_logging, resolve=True)
    config["handlers"]["file"]["filename"] = str(folder / "train.log")
    console = config["formatters"][config["handlers"]["console"]["formatter"]]
    console["format"] = console["format"].replace("%(name)s", f"{folder.name} %(name)s")
    configure_log(OmegaConf.create(config), hydra.verbose)


def run_fold(cfg: DictConfig, overrides: list[str]) -> None:
    """Do what is left of a fold, whose run `cfg` describes."""
    # Here, since they import torch, for which the parent waits.
    from canopy.cross_validation.folds import prepare_fold
    from canopy.evaluation.evaluate import evaluate
    from canopy.runs.fit import fit

    # What the stages report of each column is the same for all folds.
    logging.getLogger("canopy.prepare").setLevel(logging.WARNING)
    prepare_fold(cfg.pipeline)
    folder = Path(cfg.run_folder)
    # The folder may be from elsewhere.
    check_written_paths(cfg, folder, typed=[])
    if not is_trained(folder):
        # A process whose command was killed saves the state of its run and ends.
        deadline = time.monotonic() + SECONDS_TO_END
        while cfg.resume and Run(folder).status == "running" and time.monotonic() < deadline:
            time.sleep(0.1)
        fit(cfg, overrides=overrides)
    if not (folder / METRICS).is_file():
        scoring = compose("evaluate", [write_override(key, str(folder)) for key in ("run", "run_folder")])
        scoring.trainer.update(accelerator=cfg.trainer.accelerator, enable_progress_bar=False)
        scoring.callbacks.update(dict.fromkeys(LEFT_OUT))
        decision = cfg.pipeline.decision
        scoring.decision.merge_with({**decision, "goal": decision.goal or "argmax"})
        evaluate(Run(folder), scoring)


def is_trained(folder: Path) -> bool:
    """Say whether the run of a fold has come to its end."""
    record = Run(folder).record if (folder / RECORD).is_file() else {}
    return record.get("status") == "finished" and "published" not in record


def is_done(folder: Path) -> bool:
    """Say whether a fold is trained and evaluated."""
    return is_trained(folder) and (folder / METRICS).is_file()

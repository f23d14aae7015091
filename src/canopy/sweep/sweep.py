"""Run a sweep: open or resume its study, let workers do the remaining trials, report the result."""

import logging
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import optuna
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf, read_write
from sqlalchemy.engine import make_url

from canopy.files import write_text
from canopy.sweep.plan import Plan
from canopy.sweep.pool import run_workers
from canopy.sweep.storage import open_study
from canopy.sweep.trials import summarize_sweep
from canopy.sweep.worker import Worker

log = logging.getLogger(__name__)

RESULTS = "optimization_results.yaml"


def run_sweep(arguments: Sequence[str], *, config: DictConfig, **given: Any) -> None:
    """Do the remaining trials of a study; the arguments are the overrides of the command."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan = Plan.make(arguments, config)
    study, folder, is_new = open_study(plan, Path(config.hydra.sweep.dir))
    # The study's own folder, also when an earlier command made it.
    with read_write(config.hydra):
        config.hydra.sweep.dir = str(folder)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "multirun.yaml")
    launcher = Plugins.instance().instantiate_launcher(config=config, **given)
    timeout, n_jobs = plan.options.timeout, plan.options.n_jobs
    deadline = None if timeout is None else time.time() + timeout
    worker = Worker(plan, folder=folder, deadline=deadline, is_first=is_new)
    # A trial whose process died is among those that are left, the last one too.
    worker.queue.recover()
    n_left = max(worker.queue.n_left(), 0)
    storage = make_url(worker.url).render_as_string(hide_password=True)
    log.info("Study %s in %s: %d of %d trials left", plan.study_name, storage, n_left, plan.n_trials)
    if n_left > 0:
        with _resume_hint():
            if not isinstance(launcher, BasicLauncher):
                # Another launcher runs jobs side by side itself, but only a batch at a time.
                worker.run(launcher, batch_size=n_jobs)
            elif n_jobs == 1:
                worker.run(launcher)
            else:
                run_workers(worker, launcher, n_workers=n_jobs)
    write_text(folder / RESULTS, OmegaConf.to_yaml(OmegaConf.create(_results(study))))
    log.info("%s", summarize_sweep(study))


@contextmanager
def _resume_hint() -> Iterator[None]:
    """Log how to resume if a signal ends the block."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal handlers are called
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        log.warning("The sweep was stopped; the same command does the remaining trials")
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)


def _results(study: optuna.Study) -> dict[str, Any]:
    """Give what `optimization_results.yaml` holds, as the stock plugin writes it."""
    best = [{"params": trial.params, "values": trial.values} for trial in study.best_trials]
    if len(study.directions) > 1:
        return {"name": "optuna", "solutions": best}
    # None, too, where every trial breaks a constraint.
    if not best:
        return {"name": "optuna", "best_params": {}, "best_value": None}
    return {"name": "optuna", "best_params": study.best_params, "best_value": study.best_value}

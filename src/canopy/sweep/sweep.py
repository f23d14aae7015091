"""Run a sweep: open or resume its study, let workers do the remaining trials, report the result."""

import logging
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import optuna
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, read_write
from optuna.trial import TrialState
from sqlalchemy.engine import make_url

from canopy.files import write_text
from canopy.sweep.claim import counts
from canopy.sweep.plan import Plan
from canopy.sweep.pool import run_workers
from canopy.sweep.study import open_study
from canopy.sweep.worker import Worker

log = logging.getLogger(__name__)

RESULTS = "optimization_results.yaml"


def run_sweep(
    arguments: Sequence[str],
    *,
    options: Mapping[str, Any],
    hydra_context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
) -> None:
    """Do the remaining trials of a study.

    Args:
        arguments: Overrides of the command: fixed ones and those that make the search space.
        options: Those of `CanopyOptunaSweeperConf`.
        hydra_context: Hydra's, to compose the trials' configs.
        task_function: What a trial runs.
        config: The composed config of the command.

    Raises:
        ValueError: If the options contradict each other or the study's, or too many trials fail.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan = Plan.make(arguments, options, config)
    study, folder, is_new = open_study(plan, Path(config.hydra.sweep.dir))
    # The study's own folder, also when an earlier command made it.
    with read_write(config.hydra):
        config.hydra.sweep.dir = str(folder)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "multirun.yaml")
    launcher = Plugins.instance().instantiate_launcher(
        config=config, hydra_context=hydra_context, task_function=task_function
    )
    worker = Worker(plan, folder=folder, deadline=_deadline(plan.timeout), is_first=is_new)
    # A trial whose process died is among those that are left, the last one too.
    worker.claims.recover()
    n_left = worker.claims.n_left()
    log.info(
        "Study %s in %s: %d of %d trials left%s",
        plan.study_name,
        make_url(worker.url).render_as_string(hide_password=True),
        max(n_left, 0),
        plan.n_trials,
        "" if n_left > 0 else ", nothing to do",
    )
    if n_left > 0:
        with _resume_hint():
            _run(worker, launcher, plan)
    write_text(folder / RESULTS, OmegaConf.to_yaml(OmegaConf.create(results(study))))
    tell(study, plan)


@contextmanager
def _resume_hint() -> Iterator[None]:
    """Say what to do if a signal ends the block."""

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


def _run(worker: Worker, launcher: Launcher, plan: Plan) -> None:
    if not isinstance(launcher, BasicLauncher):
        # Another launcher runs jobs side by side itself, but only a batch at a time.
        worker.run_batches(launcher, batch_size=plan.n_jobs)
    elif plan.n_jobs == 1:
        worker.run(launcher)
    else:
        run_workers(worker, launcher, n_workers=plan.n_jobs)


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.time() + timeout


def results(study: optuna.Study) -> dict[str, Any]:
    """Give what `optimization_results.yaml` holds, as the stock plugin writes it."""
    if len(study.directions) > 1:
        solutions = [{"params": trial.params, "values": trial.values} for trial in study.best_trials]
        return {"name": "optuna", "solutions": solutions}
    # Empty, too, where every trial breaks a constraint.
    if not study.best_trials:
        return {"name": "optuna", "best_params": {}, "best_value": None}
    return {"name": "optuna", "best_params": study.best_params, "best_value": study.best_value}


def tell(study: optuna.Study, plan: Plan) -> None:
    """Log how many trials ended in which way, and the best."""
    states = [trial.state for trial in study.get_trials(deepcopy=False) if counts(trial)]
    ended = [f"{states.count(state)} {state.name.lower()}" for state in TrialState if state in states]
    log.info("Study %s: %s", plan.study_name, ", ".join(ended) or "no trial")
    for trial in study.best_trials if TrialState.COMPLETE in states else []:
        values = ", ".join(f"{value:.6g}" for value in trial.values)
        params = " ".join(f"{key}={value}" for key, value in trial.params.items())
        log.info("Best: trial %d with %s: %s", trial.number, values, params)

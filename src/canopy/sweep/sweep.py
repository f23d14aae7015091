"""Run a sweep: open or resume its study, let workers do the remaining trials, report the result."""

import logging
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.context import SpawnProcess
from typing import Any

import cloudpickle
import optuna
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, read_write
from optuna.trial import TrialState

from canopy.cores import usable_cores
from canopy.files import write_text
from canopy.processes import end_with_parent
from canopy.sweep.plan import Plan
from canopy.sweep.storage import open_study
from canopy.sweep.trials import best_of, summarize_sweep
from canopy.sweep.worker import Worker

log = logging.getLogger(__name__)

# So many for each worker, without a finished trial in between, end the sweep.
MAX_DEATHS = 5
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# Exit code of a worker that reports a mistake or too many failures; others are as good as killed.
FAILED = 3


def run_sweep(arguments: Sequence[str], *, config: DictConfig, **given: Any) -> None:
    """Do the remaining trials of a study; the arguments are the overrides of the command."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan = Plan.make(arguments, config)
    study, folder, is_new = open_study(plan)
    # That of the study also for `plan`, when an earlier command made it.
    with read_write(config.hydra):
        config.hydra.sweep.dir = str(folder)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "multirun.yaml")
    launcher, n_jobs = Plugins.instance().instantiate_launcher(config=config, **given), plan.options.n_jobs
    deadline = math.inf if plan.options.timeout is None else time.time() + plan.options.timeout
    worker = Worker(plan, deadline=deadline, is_first=is_new)
    # A trial whose process died is among those that are left, the last one too.
    worker.queue.recover()
    n_left = max(worker.queue.n_left(), 0)
    log.info("Study %s in %s: %d of %d trials left", plan.study_name, plan.storage, n_left, plan.n_trials)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        if isinstance(launcher, BasicLauncher) and n_jobs > 1 and n_left > 0:
            run_workers(worker, launcher, n_workers=min(n_jobs, n_left))
        else:
            # Another launcher runs jobs side by side itself, but only a batch at a time.
            worker.run(launcher, batch_size=n_jobs)
    except (KeyboardInterrupt, SystemExit):
        log.warning("The sweep was stopped; the same command does the remaining trials")
        raise
    write_text(folder / "optimization_results.yaml", OmegaConf.to_yaml(OmegaConf.create(_results(study))))
    log.info("%s", summarize_sweep(study))


def _results(study: optuna.Study) -> dict[str, Any]:
    """Give what `optimization_results.yaml` holds, as the stock plugin writes it."""
    best = best_of(study)
    if len(study.directions) > 1:
        solutions = [{"params": trial.params, "values": trial.values} for trial in best]
        return {"name": "optuna", "solutions": solutions}
    params, value = (best[0].params, best[0].value) if best else ({}, None)
    return {"name": "optuna", "best_params": params, "best_value": value}


def run_workers(worker: Worker, launcher: Launcher, *, n_workers: int) -> None:
    """Let several processes, which share the cores, do a worker's trials; one that is killed is replaced."""
    # What libraries that compute in parallel read when they are imported.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(max(1, usable_cores() // n_workers)))
    context = multiprocessing.get_context("spawn")
    # The command itself and what Hydra keeps for it are no modules that a new process could import.
    state = Singleton.get_state()
    common = cloudpickle.dumps((worker.plan, worker.deadline, worker.first, launcher, state))
    workers: list[SpawnProcess] = []
    n_done = n_deaths = n_finished = 0
    try:
        while n_done < n_workers:
            while len(workers) < n_workers - n_done:
                process = context.Process(target=_work, args=(common, worker.is_first))
                process.start()
                workers.append(process)
                worker.is_first = False
            time.sleep(0.1)
            for process in [process for process in workers if not process.is_alive()]:
                workers.remove(process)
                if process.exitcode == 0:
                    n_done += 1
                    continue
                before = n_finished
                n_finished = len(worker.study.get_trials(deepcopy=False, states=FINISHED))
                n_deaths = n_deaths + 1 if n_finished == before else 1
                if process.exitcode == FAILED:
                    raise ValueError("The sweep ended by the error of a worker: see the log above")
                if n_deaths > MAX_DEATHS * n_workers:
                    raise ValueError(
                        f"Workers must finish trials; got {n_deaths} that died without one, "
                        f"the last with exit code {process.exitcode}: see the log above"
                    )
                log.warning("A worker died (exit code %s); another one takes its place", process.exitcode)
    finally:
        # SIGTERM lets each save the state of its run.
        for process in workers:
            process.terminate()
        for process in workers:
            process.join()


def _work(common: bytes, is_first: bool) -> None:  # noqa: FBT001 - of a process
    """Be a worker: the first function of a new process."""
    plan, deadline, first, launcher, state = cloudpickle.loads(common)
    Singleton.set_state(state)
    end_with_parent()
    try:
        Worker(plan, deadline=deadline, is_first=is_first, first=first).run(launcher)
    except ValueError as error:
        log.error("%s", error)
        raise SystemExit(FAILED) from error

"""Run a cross-validation: each fold in a process of its own, then their results together."""

import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
from hydra.core.singleton import Singleton
from omegaconf import DictConfig, OmegaConf

from canopy.cores import free_cores
from canopy.cross_validation.folds import choose_home, prepare_table
from canopy.cross_validation.process import is_done, work
from canopy.cross_validation.results import write_results, write_table
from canopy.cross_validation.start import CONFIG_FILE, choose_config, fold_config, typed_words
from canopy.files import read_json, write_json, write_text
from canopy.places import display_path
from canopy.quoting import write_command
from canopy.runs.environment import hash_project_files
from canopy.runs.find import CROSS_VALIDATION
from canopy.runs.keys import flatten
from canopy.runs.processes import is_alive, this_process
from canopy.runs.record import NUMBERS, check_returns, objective_of
from canopy.runs.run import RECORD, Run

log = logging.getLogger(__name__)


def cross_validate(
    cfg: DictConfig, *, overrides: Sequence[str] = (), trial: Any = None
) -> float | tuple[float, ...]:
    """Train and evaluate a run for each fold, or what is left of them; write and print their results.

    `cfg` is of `configs/cross_validate.yaml`, `overrides` are what the command line changed in it, `trial` is
    the `canopy.sweep.worker.JobTrial` that all folds are together. Gives the mean over the folds of the best
    epoch's score, or of what `objective.returns` names. A fold that fails is an error after all others.
    """
    folder, config = Path(cfg.run_folder), choose_config(cfg, overrides)
    returns, n_folds = config.objective.returns, config.pipeline.split.n_folds
    check_returns(returns)
    n_jobs, n_threads = share_cores(cfg.n_jobs, n_folds)
    config.n_threads = config.n_threads or n_threads
    home = choose_home(config.pipeline)
    prepare_table(config.pipeline, home)
    folds = [folder / f"fold_{fold}" for fold in range(n_folds)]

    def has_seen_enough() -> bool:
        """Report the mean of the folds so far to the sweep, which may prune the others."""
        scores = [Run(fold).record["best"]["score"] for fold in folds if is_done(fold)]
        trial.report(float(np.mean(scores)), len(scores))
        return bool(trial.should_prune())

    with recorded(folder, home=home) as record:
        write_text(folder / CONFIG_FILE, OmegaConf.to_yaml(config))
        if trial is not None:
            config.refit = False
        left = [k for k, path in enumerate(folds) if not (is_done(path) and (home / path.name).is_dir())]
        log.info("%d of %d folds left, %d side by side: %s", len(left), n_folds, n_jobs, display_path(folder))
        configs = {fold: fold_config(config, folds[fold], home=home, fold=fold) for fold in left}
        if errors := run_folds(configs, overrides, n_jobs=n_jobs, prunes=has_seen_enough if trial else None):
            texts = {text: [f"fold {k}" for k in errors if errors[k] == text] for text in errors.values()}
            found = "; ".join(f"{', '.join(names)}: {text}" for text, names in texts.items())
            command = write_command("cross_validate", resume=display_path(folder))
            raise ValueError(f"Each fold must be trained and evaluated; got {found}\nTry again: {command}")
        runs = [Run(fold) for fold in folds if is_done(fold)]
        record |= mean_numbers(runs)
        if len(runs) < n_folds:
            record["status"] = "pruned"
        else:
            text = write_table(write_results(folder, runs))
            sys.stdout.write(f"\n{text}\n\nAll digits: {display_path(folder / CROSS_VALIDATION)}\n")
    values = np.mean([np.atleast_1d(objective_of(run.record, returns)) for run in runs], axis=0)
    return float(values[0]) if returns is None else tuple(values.tolist())


def share_cores(n_jobs: int | None, n_folds: int) -> tuple[int, int]:
    """Give the numbers of folds side by side and of threads of each."""
    n_cores = int(os.environ.get("OMP_NUM_THREADS") or free_cores())
    if n_jobs is not None and n_jobs < 1:
        raise ValueError(f"n_jobs must be an integer >= 1, or null; got {n_jobs}")
    n_jobs = min(n_jobs or n_cores, n_folds)
    return n_jobs, max(1, n_cores // n_jobs)


def mean_numbers(runs: Sequence[Run]) -> dict[str, float]:
    """Average the numbers of the records of runs that a sweep can optimise or bound, by dotted key."""
    records = [flatten(run.record) for run in runs]
    keys = NUMBERS.intersection(*records)
    return {key: float(np.mean([record[key] for record in records])) for key in sorted(keys)}


@contextmanager
def recorded(folder: Path, *, home: Path) -> Iterator[dict[str, Any]]:
    """Keep the record of a cross-validation, as `record_run` that of a run."""
    path, now = folder / RECORD, datetime.now(UTC).isoformat(timespec="seconds")
    new: dict[str, Any] = {"argv": typed_words(), "started": now, "home": str(home)}
    earlier: dict[str, Any] = read_json(path) if path.is_file() else new
    if earlier["home"] != str(home):
        raise ValueError(f"The raw table must be the one that {folder} has started with: start a new one")
    if earlier is not new and earlier.get("status") == "running" and is_alive(earlier["process"]):
        found = f"process {earlier['process']['pid']}: wait for it, or stop it"
        raise ValueError(f"A cross-validation must be run by one command at a time; got {found}")
    record = {**earlier, "status": "running", "process": this_process(), "files": hash_project_files()}
    write_json(path, record)
    try:
        yield record
        if record["status"] == "running":
            record["status"] = "finished"
    except KeyboardInterrupt:
        record["status"] = "stopped"
        command = write_command("cross_validate", resume=display_path(folder))
        log.warning("Stopped; resume it with:\n  %s", command)
        raise
    except BaseException as error:
        record |= {"status": "failed", "reason": str(error)}
        raise
    finally:
        write_json(path, {**record, "ended": datetime.now(UTC).isoformat(timespec="seconds")})


def run_folds(
    configs: dict[int, DictConfig],
    overrides: Sequence[str],
    *,
    n_jobs: int,
    prunes: Callable[[], bool] | None = None,
) -> dict[int, str]:
    """Do folds in processes, `n_jobs` at a time, unless `prunes` ends it; give what went wrong, by fold."""
    context, state = multiprocessing.get_context("spawn"), Singleton.get_state()
    waiting, errors = [*configs], dict[int, str]()
    running: dict[int, tuple[SpawnProcess, Connection[Any, Any]]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < n_jobs:
                fold = waiting.pop(0)
                receiver, sender = context.Pipe(duplex=False)
                common = cloudpickle.dumps((configs[fold], [*overrides], state))
                process = context.Process(target=work, args=(common, sender))
                process.start()
                sender.close()
                running[fold] = process, receiver
            wait([process.sentinel for process, _ in running.values()])
            for fold, (process, receiver) in [*running.items()]:
                if process.is_alive():
                    continue
                del running[fold]
                if process.exitcode:
                    with suppress(EOFError):
                        errors[fold] = f"its process ended with exit code {process.exitcode}"
                        errors[fold] = str(receiver.recv())
                elif prunes is not None and prunes():
                    return {}
    finally:
        # SIGTERM lets each save the state of its run.
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            process.join()
    return errors

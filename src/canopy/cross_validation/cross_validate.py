"""Run a cross-validation: each fold in a process of its own, then their results together."""

import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
from hydra.core.singleton import Singleton
from omegaconf import DictConfig

from canopy.cores import free_cores
from canopy.cross_validation.folds import choose_home, prepare_table
from canopy.cross_validation.process import is_trained, work
from canopy.cross_validation.results import write_results, write_table
from canopy.cross_validation.start import choose_config, fold_config, save_config, typed_words
from canopy.files import read_json, write_json
from canopy.places import display_path
from canopy.quoting import write_command
from canopy.runs.environment import hash_project_files
from canopy.runs.find import CROSS_VALIDATION
from canopy.runs.keys import flatten
from canopy.runs.record import NUMBERS, check_returns, objective_of
from canopy.runs.run import METRICS, RECORD, Run, is_alive, this_process

log = logging.getLogger(__name__)

# How long the processes of a command that was killed may take to save their states.
SECONDS_TO_END = 60


def cross_validate(
    cfg: DictConfig, *, overrides: Sequence[str] = (), trial: Any = None
) -> float | tuple[float, ...]:
    """Train and evaluate a run for each fold, or what is left of them, and write and print their results.

    Args:
        cfg: The composed config of `configs/cross_validate.yaml`.
        overrides: What the command line changed in it.
        trial: The `canopy.sweep.worker.JobTrial` that all folds are together, in a sweep.

    Returns:
        The mean over the folds of the best epoch's score, or of what `objective.returns` names.

    Raises:
        ValueError: If a fold failed; the others have finished and are kept.
    """
    folder = Path(cfg.run_folder)
    config = choose_config(cfg, overrides)
    returns, n_folds = config.objective.returns, config.pipeline.split.n_folds
    check_returns(returns)
    n_jobs, n_threads = share_cores(cfg.n_jobs, n_folds)
    config.n_threads = config.n_threads or n_threads
    home = choose_home(config.pipeline)
    prepare_table(config.pipeline, home)
    runs, shown = [folder / f"fold_{fold}" for fold in range(n_folds)], display_path(folder)

    def report() -> bool:
        """Report the mean of the folds so far to the sweep; say whether it has seen enough."""
        records = [Run(run).record for run in runs if is_done(run)]
        trial.report(float(np.mean([record["best"]["score"] for record in records])), len(records))
        return bool(trial.should_prune())

    with recorded(folder, home=home) as record:
        save_config(config, folder)
        if trial is not None:
            config.refit = False
        configs = {
            fold: fold_config(config, folder=folder, home=home, fold=fold)
            for fold, run in enumerate(runs)
            if not is_done(run)
        }
        log.info("%d of %d folds left, %d side by side: %s", len(configs), n_folds, n_jobs, shown)
        has_seen_enough = report if trial is not None else None
        options: dict[str, Any] = {"n_jobs": n_jobs, "n_threads": config.n_threads, "overrides": overrides}
        if errors := run_folds(configs, has_seen_enough=has_seen_enough, **options):
            failed = ", ".join(f"fold {fold}: {error}" for fold, error in errors.items())
            command = write_command("cross_validate", resume=shown)
            raise ValueError(f"Each fold must be trained and evaluated; got {failed}\nTry again: {command}")
        found = [Run(run) for run in runs if is_done(run)]
        record |= mean_numbers(found)
        if len(found) < n_folds:
            record["status"] = "pruned"
        else:
            print_results(folder, found)
    values = np.mean([np.atleast_1d(objective_of(run.record, returns)) for run in found], axis=0)
    return float(values[0]) if returns is None else tuple(values.tolist())


def print_results(folder: Path, runs: Sequence[Run]) -> None:
    """Write the results and print them."""
    text = write_table(write_results(folder, runs))
    print(f"\n{text}\n\nAll digits: {display_path(folder / CROSS_VALIDATION)}")  # noqa: T201


def is_done(run: Path) -> bool:
    """Say whether a fold is trained and evaluated."""
    return is_trained(run) and (run / METRICS).is_file()


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
    keys = [key for key in records[0] if key in NUMBERS or key.startswith("best.metrics.")]
    return {key: float(np.mean([record[key] for record in records])) for key in keys}


@contextmanager
def recorded(folder: Path, *, home: Path) -> Iterator[dict[str, Any]]:
    """Keep the record of a cross-validation, as `record_run` that of a run."""
    path, now = folder / RECORD, datetime.now(UTC).isoformat(timespec="seconds")
    new = {"argv": typed_words(), "started": now, "home": str(home)}
    earlier = read_json(path) if path.is_file() else new
    if earlier["home"] != str(home):
        raise ValueError(f"The raw table must be the one that {folder} has started with: start a new one")
    record = {**earlier, "status": "running", "process": this_process(), "files": hash_project_files()}
    write_json(path, record)
    try:
        yield record
        if record["status"] == "running":
            record["status"] = "finished"
    except BaseException as error:
        is_stop = isinstance(error, KeyboardInterrupt | SystemExit)
        record |= {"status": "stopped" if is_stop else "failed", "reason": str(error)}
        raise
    finally:
        write_json(path, {**record, "ended": datetime.now(UTC).isoformat(timespec="seconds")})


def run_folds(
    configs: dict[int, DictConfig],
    *,
    n_jobs: int,
    n_threads: int,
    overrides: Sequence[str],
    has_seen_enough: Callable[[], bool] | None,
) -> dict[int, str]:
    """Do folds in processes, `n_jobs` at a time; give what went wrong, by fold."""
    context, state = multiprocessing.get_context("spawn"), Singleton.get_state()
    waiting, errors = [*configs], dict[int, str]()
    running: dict[int, tuple[SpawnProcess, Connection[Any, Any]]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < n_jobs:
                fold = waiting.pop(0)
                wait_for_earlier(Path(configs[fold].run_folder))
                receiver, sender = context.Pipe(duplex=False)
                common = cloudpickle.dumps((configs[fold], [*overrides], state))
                process = context.Process(target=work, args=(common, sender))
                with threads(n_threads):
                    process.start()
                sender.close()
                running[fold] = process, receiver
            wait([process.sentinel for process, _ in running.values()])
            for fold, (process, receiver) in [*running.items()]:
                if process.is_alive():
                    continue
                del running[fold]
                process.join()
                if process.exitcode:
                    errors[fold] = _reason(receiver, process.exitcode)
                elif has_seen_enough is not None and has_seen_enough():
                    return {}
    finally:
        # SIGTERM lets each save the state of its run.
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            process.join()
    return errors


def _reason(errors: "Connection[Any, Any]", exit_code: int) -> str:
    try:
        return str(errors.recv())
    except EOFError:
        return f"its process ended with exit code {exit_code}"


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let the processes that a block starts compute with `n` threads, by what libraries read at import."""
    name = "OMP_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = str(n)
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def wait_for_earlier(run: Path) -> None:
    """Wait for the process of a fold whose command was killed: it saves the state of its run and ends."""
    record = Run(run).record if (run / RECORD).is_file() else {}
    deadline = time.monotonic() + SECONDS_TO_END
    while record.get("status") == "running" and is_alive(record["process"]) and time.monotonic() < deadline:
        time.sleep(0.1)

"""Several processes that train one run: the first decides, logs and writes, the others follow.

On one machine the Trainer starts the others. On several, torchrun or Slurm's srun starts all of them; they
connect before there is a Trainer, which then uses the same connections.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import torch.distributed
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning import Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from canopy.processes import launched_rank
from canopy.runs.environment import git_sha
from canopy.runs.run import Run
from canopy.schema.tensors import SCHEMA_FILE, Schema
from canopy.training.callbacks.resume_checkpoint import TrainingStopped
from canopy.training.fit import prepare
from canopy.training.processes import from_first

# Where the first process names its run's folder to those that the Trainer starts.
RUN_VARIABLE = "CANOPY_RUN_FOLDER"

# After which a silent process counts as lost. When one is killed the others notice at once, but not when a
# machine loses its power or its network.
TIMEOUT = timedelta(minutes=10)


def log_once() -> None:
    """Remove the log handlers that would show messages a second time; log files stay as they are."""
    # Lightning's own handler, next to the root logger's.
    logging.getLogger("lightning").handlers.clear()
    if rank_zero_only.rank > 0:  # type: ignore[attr-defined]
        root = logging.getLogger()
        root.handlers = [handler for handler in root.handlers if isinstance(handler, logging.FileHandler)]


@cache
def connect() -> None:
    """Connect the processes that torchrun or srun started, if one of them did."""
    if launched_rank() is None:
        return
    if (restarts := os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) != "0":
        # Each machine counts its own, and processes of other counts wait for each other for an hour.
        raise ValueError(f"torchrun must not restart a run; got --max-restarts={restarts}: leave it out")
    environment = TorchElasticEnvironment() if TorchElasticEnvironment.detect() else SLURMEnvironment()
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = (
        environment.main_address,
        str(environment.main_port),
    )
    torch.distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        rank=environment.global_rank(),
        world_size=environment.world_size(),
        timeout=TIMEOUT,
    )


@contextmanager
def lost_process_as_error() -> Iterator[None]:
    """Turn the various errors of a connection to another process into one that says what to do."""
    try:
        yield
    except RuntimeError as error:
        # Gloo has no class of errors of its own, and names itself in all but one.
        is_of_gloo = any(text in str(error) for text in ("gloo", "pair closure"))
        if not isinstance(error, torch.distributed.DistError) and not is_of_gloo:
            raise
        # Behind the place in Gloo's source, before its advice.
        line = str(error).partition("\n")[0]
        reason = (line.partition("] ")[2] or line).partition(". ")[0]
        raise ConnectionError(
            f"All processes of a run must reach its end; lost the connection to another one ({reason}): see "
            "what that one or its machine reports, then resume the run on all machines"
        ) from error


def agree_on(choose: Callable[[], Any]) -> Any:
    """Give what the first of the processes that torchrun or srun started chooses; all must call it."""
    if (rank := launched_rank()) is None:
        return choose()
    with lost_process_as_error():
        connect()
        return from_first(None if rank else choose())


def lead(cfg: DictConfig | None, checkpoint: Path | None = None) -> None:
    """Let the other processes train as a config says, from a checkpoint; without a config they only end."""
    if cfg is None:
        agree_on(lambda: None)
        return
    os.environ[RUN_VARIABLE] = str(Path(cfg.run_folder).resolve())
    agree_on(lambda: (OmegaConf.to_yaml(cfg), checkpoint, _same_everywhere(cfg)))


def fit_in_further_process() -> float:
    """Train in another process than the first, which has chosen the config and reports the score."""
    log_once()
    if launched_rank() is None and RUN_VARIABLE in os.environ:
        run = Run(os.environ[RUN_VARIABLE])
        cfg, folder = run.config, run.path
        checkpoint = run.last_checkpoint if run.last_checkpoint.is_file() else None
    elif launched_rank() is None:
        raise ValueError(
            "Several processes must be started by trainer=ddp, torchrun or srun; got another way"
        )
    elif (given := agree_on(lambda: None)) is None:
        return float("nan")
    else:
        text, checkpoint, expected = given
        cfg, folder = OmegaConf.create(text), Path(HydraConfig.get().runtime.output_dir)
        _check_same(_same_everywhere(cfg), expected)
    cfg.run_folder, cfg.resume_step = str(folder), None
    with suppress(TrainingStopped), lost_process_as_error():
        prepare(cfg).fit(checkpoint)
    return float("nan")


def _same_everywhere(cfg: DictConfig) -> dict[str, Any]:
    """Describe what each machine must have the same of, each its own copy or all one."""
    schema = Schema.load(Path(cfg.data.folder) / SCHEMA_FILE)
    return {f"{cfg.data.folder}/{name}": digest for name, digest in schema.sha256.items()} | {
        "commit": git_sha()
    }


def _check_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        if found.get(name) != value:
            raise ValueError(
                f"Each machine must have the same code and data as the first; found another {name}, "
                f"{str(found.get(name))[:12]} instead of {str(value)[:12]}: copy the first machine's folder"
            )


def check_processes(trainer: Trainer, *, refit: bool = False) -> None:
    """Refuse strategies that fork, and several processes in a refit or a multirun, which they would rerun."""
    launcher = trainer.strategy.launcher
    if launcher is not None and not isinstance(launcher, _SubprocessScriptLauncher):
        raise ValueError("trainer.strategy must be one as ddp; got one that forks or spawns them")
    in_multirun = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    if trainer.world_size > 1 and (refit or in_multirun):
        raise ValueError(
            "A run with refit=true or of a multirun must train in one process; got "
            f"{trainer.world_size}: set refit=false, or trainer.devices=1"
        )
    if launched_rank() is None:
        if trainer.num_nodes > 1:
            found = f"trainer.num_nodes={trainer.num_nodes}"
            raise ValueError(f"A run of several machines must be started by torchrun or srun; got {found}")
    elif (n_started := torch.distributed.get_world_size()) != trainer.world_size:
        raise ValueError(
            f"A run must train in all {n_started} processes that torchrun or srun started; got "
            f"{trainer.world_size}: set trainer=ddp (or ddp_sim), trainer.num_nodes and trainer.devices"
        )

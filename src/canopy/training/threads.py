"""How many threads a process computes with."""

import logging
import os

import torch
from omegaconf import DictConfig, open_dict

from canopy.cores import free_cores, usable_cores

log = logging.getLogger(__name__)


def choose_threads(cfg: DictConfig) -> None:
    """Write the number of free cores into a run's config, unless it or `OMP_NUM_THREADS` gives a number."""
    if cfg.get("n_threads") is None and "OMP_NUM_THREADS" not in os.environ:
        # Threads wait for each other: one that shares its core with another process slows down all of them.
        n_free, n_cores = free_cores(), usable_cores()
        with open_dict(cfg):
            cfg.n_threads = n_free
        if n_free < n_cores:
            log.info("Other processes are busy: computing with %d of %d cores", n_free, n_cores)


def limit_threads(n_processes: int = 1, n_threads: int | None = None) -> None:
    """Give each of some processes its share of the threads, or of the cores: PyTorch knows no CPU quota."""
    if "OMP_NUM_THREADS" in os.environ:
        return
    share = max(1, (n_threads or usable_cores()) // n_processes)
    torch.set_num_threads(min(torch.get_num_threads(), share))
    if n_processes > 1:
        # Lightning starts the others.
        os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())

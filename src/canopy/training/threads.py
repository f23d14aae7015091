"""How many threads a process computes with."""

import os

import torch

from canopy.cores import usable_cores


def limit_threads(n_processes: int = 1) -> None:
    """Give each of some processes its share of the cores, unless `OMP_NUM_THREADS` says how many threads.

    PyTorch and Lightning know the affinity mask but no CPU quota.

    Args:
        n_processes: Processes that train together on this machine.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return
    n_threads = min(torch.get_num_threads(), max(1, usable_cores() // n_processes))
    torch.set_num_threads(n_threads)
    if n_processes > 1:
        # Lightning starts the others.
        os.environ["OMP_NUM_THREADS"] = str(n_threads)

"""What processes have in common that a command starts, or that are started to run one command together."""

import multiprocessing
import os
import signal
import threading


def end_with_parent() -> None:
    """Let this process get SIGTERM when the one that started it is gone, if `multiprocessing` started it."""
    if (parent := multiprocessing.parent_process()) is not None:

        def wait() -> None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=wait, daemon=True).start()


def launched_rank() -> int | None:
    """Give the number of this process among those that torchrun or srun started; None if neither did."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["RANK"])
    # A batch script and a shell of an interactive job have the other variables too.
    is_interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    if "SLURM_STEP_ID" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1 and not is_interactive:
        return int(os.environ["SLURM_PROCID"])
    return None

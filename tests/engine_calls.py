"""What engines and processes call in tests: they import it, which they cannot do with a test's own module."""

import logging
import os
import signal
import time

from omegaconf import DictConfig


def fail_from_two(number: int) -> int:
    logging.getLogger("canopy.test").warning("part %d", number)
    if number > 1:
        raise ValueError(f"no {number}")
    return number


def kill_itself(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL if number == 1 else 0)


def say_pid(_: int) -> None:
    print(os.getpid(), flush=True)  # noqa: T201 - read by the test
    time.sleep(60)


def fit_from_terminal(config: DictConfig) -> None:
    """Fit as where a closed terminal ends a process, though the tests may run by `nohup`."""
    # Here, since engines need none of it.
    from canopy.runs.fit import fit

    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    fit(config)

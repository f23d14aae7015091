"""What engines call in tests: processes import it, which they cannot do with a test's own module."""

import logging
import os
import signal
import time


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

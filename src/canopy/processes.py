"""What processes that a command starts have in common."""

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

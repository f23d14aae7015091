"""Who speaks on the console: one process, each message once."""

import logging
import os


def say_once() -> None:
    """Take away what would show messages a second time; log files are as they were."""
    # Lightning's own handler, next to the root logger's.
    logging.getLogger("lightning").handlers.clear()
    if os.environ.get("LOCAL_RANK", "0") != "0":
        # Another one of several processes than the first.
        root = logging.getLogger()
        root.handlers = [handler for handler in root.handlers if isinstance(handler, logging.FileHandler)]

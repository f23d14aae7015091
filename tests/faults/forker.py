"""Run commands in processes that start within milliseconds: forks of this one, which has imported all.

python forker.py    each line read is a command as JSON; written are its process's number and its exit code

A command is run as its script is by Python: the same code, arguments, working folder and exit code.
"""

import gc
import importlib
import json
import os
import runpy
import sys
from typing import Any

from hydra.core.plugins import Plugins

IMPORTED = (
    *("canopy.explore.explore", "canopy.prepare.fetch", "canopy.prepare.split", "canopy.prepare.compose"),
    *("canopy.prepare.make_tensors", "canopy.prepare.normalize", "canopy.prepare.cap_classes"),
    *("canopy.runs.entry", "canopy.export.predict", "canopy.runs.fit", "canopy.evaluation.evaluate"),
    *("canopy.export.export", "canopy.export.compress.compress"),
)


def main() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    # Hydra looks for its plugins once a process.
    Plugins.instance()
    # What is imported stays: a fork that looked through it for garbage would take twice as long.
    gc.freeze()
    # What commands print must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        command = json.loads(line)
        process = os.fork()
        if process == 0:
            run(**command)
        print(process, file=answers, flush=True)
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def run(argv: list[str], folder: str, stdout: str, stderr: str) -> None:
    """Be the process of a command."""
    os.chdir(folder)
    for number, path, mode in ((0, os.devnull, os.O_RDONLY), (1, stdout, WRITE), (2, stderr, WRITE)):
        os.dup2(os.open(path, mode, 0o644), number)
    sys.argv = argv
    code: Any = 0
    try:
        runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as stop:
        code = stop.code or 0
        if not isinstance(code, int):
            sys.stderr.write(f"{code}\n")
            code = 1
    except BaseException:  # noqa: BLE001 - as Python itself does
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC

if __name__ == "__main__":
    main()

"""Seconds before anything happens: the help of each command, its imports, a pipeline that is up to date.

python benchmarks/startup.py     (after `make repro`)
"""

import os
import subprocess
import sys
import time
from functools import partial

from common import ROOT, median, parse, take_turns, write

COMMANDS = sorted(path.relative_to(ROOT) for path in (ROOT / "src").glob("*.py"))
STAGES = sorted(path.relative_to(ROOT) for path in (ROOT / "scripts").glob("*.py"))
# A module name is no path: imports are timed by running nothing but them.
IMPORT = "import runpy, sys; sys.argv[0] = {path!r}; runpy.run_path({path!r}, run_name='benchmark')"


def main() -> None:
    arguments = parse(__doc__)
    n_repeats = 1 if arguments.quick else 7
    contenders = {
        "python -c pass": [sys.executable, "-c", "pass"],
        **{f"python {path} --help": [sys.executable, str(path), "--help"] for path in COMMANDS},
        **{
            f"imports of {path}": [sys.executable, "-c", IMPORT.format(path=str(path))]
            for path in (*COMMANDS, *STAGES)
        },
        "make repro, up to date": ["make", "repro"],
    }
    seconds(["make", "repro"])  # so that it is up to date
    found = take_turns(
        {name: partial(seconds, command) for name, command in contenders.items()},
        n_repeats=n_repeats,
    )
    write(
        "startup", [{"command": name, "seconds": median(times)} for name, times in found.items()], arguments
    )


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=os.environ, check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()

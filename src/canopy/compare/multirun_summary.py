"""Sum up a multirun when its last run has ended."""

import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from canopy.compare.spread import group_runs, result_columns, summarize_runs, varying_keys
from canopy.files import write_text
from canopy.places import display_path
from canopy.quoting import write_command
from canopy.runs.find import find_runs, run_folders

SUMMARY = "summary.csv"


class MultirunSummary(Callback):
    """Print and save the spread of every result over the seeds of a multirun.

    Where more than the seed varies, runs that agree in all of it form a group. A multirun without repeated
    seeds has no spread: nothing is printed then.
    """

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        if next(run_folders(folder), None) is None:
            return
        runs = [run for run in find_runs([folder], logs=Path("logs")) if run.status == "finished"]
        varying = varying_keys(runs)
        keys = [key for key in varying if key != "seed"]
        if "seed" not in varying or len(group_runs(runs, keys)) == len(runs):
            return
        columns = result_columns(runs)
        write_text(folder / SUMMARY, summarize_runs(runs, keys=keys, columns=columns, form="csv") + "\n")
        text = summarize_runs(runs, keys=keys, columns=() if keys else columns)
        sys.stdout.write(
            f"\n{text}\n\nAll digits: {display_path(folder / SUMMARY)}\nWith test scores:\n"
            f"  {write_command('evaluate', run=display_path(folder))}\n"
            f"  {write_command('runs', display_path(folder), '--summary')}\n"
        )

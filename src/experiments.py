"""Gather what the experiments of configs/experiment/ reach from their evaluated runs, over seeds.

python src/experiments.py

It prints the table, with the published figures, and writes reports/experiments.json; `make readme` puts it
into docs/results.md. Seeds and experiments without a run here keep what that file has, as long as their
config is the same.
"""

import argparse
import sys
from pathlib import Path

from canopy.compare.experiments import REPORT, as_json, collect, compose_experiments, read_experiments
from canopy.compare.summary import experiments_table
from canopy.files import write_json
from canopy.params import mount_params
from canopy.runs.find import find_runs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="*", help="runs, or folders of runs (default: all)")
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="folder of the report")
    arguments = parser.parse_args()
    try:
        configs = Path(mount_params().paths.configs)
        path = arguments.reports / REPORT
        experiments = collect(
            find_runs(arguments.folders, logs=Path("logs")),
            recipes=compose_experiments(configs),
            earlier=read_experiments(path),
        )
        if experiments.empty:
            raise ValueError(
                "There must be finished and evaluated runs of an experiment; found none: train some, such as "
                "\"python src/train.py -m 'seed=range(0,5)'\", and score them with src/evaluate.py"
            )
        write_json(path, as_json(experiments))
        sys.stdout.write(f"{experiments_table(experiments)}\n\nWritten: {path}\n")
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()

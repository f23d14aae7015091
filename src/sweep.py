"""Read sweeps: list their trials, draw a report, keep the best trial as an experiment.

python src/sweep.py                                     all sweeps
python src/sweep.py NAME                                its state, its trials, the best first
python src/sweep.py NAME --report                       a page of Optuna's plots: logs/sweeps/NAME/report.html
python src/sweep.py NAME --best EXPERIMENT              the best trial as configs/experiment/EXPERIMENT.yaml
python src/sweep.py NAME --best EXPERIMENT --trial 7    another one
python src/sweep.py NAME --csv > trials.csv             all digits, for other programs; or --json
"""

import argparse
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    arguments = parse()
    try:
        sys.stdout.write(f"{answer(arguments)}\n")
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")


def answer(arguments: argparse.Namespace) -> str:
    # Here, since Optuna takes half a second that a mistake on the command line should not cost.
    from canopy.sweep.trials import list_sweeps, list_trials, load_sweep, load_sweeps, summarize_sweep

    form: Any = "json" if arguments.json else "csv" if arguments.csv else "text"
    if arguments.name is None:
        return list_sweeps(load_sweeps(arguments.storage).values(), form=form)
    sweep = load_sweep(arguments.name, arguments.storage)
    if name := arguments.best:
        from canopy.params import mount_params
        from canopy.sweep.export import export_trial

        configs = Path(mount_params().paths.configs)
        path = export_trial(sweep, name, number=arguments.trial, force=arguments.force, configs=configs)
        return f"{path}\npython src/train.py experiment={name}"
    if arguments.report is not None:
        from canopy.sweep.report import write_report

        path = Path(arguments.report or f"logs/sweeps/{arguments.name}/report.html")
        write_report(sweep, path)
        return str(path)
    trials = list_trials(sweep, form=form)
    return trials if form != "text" else f"{summarize_sweep(sweep)}\n\n{trials}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="name of a sweep (default: list all)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")
    form.add_argument("--report", metavar="PATH", nargs="?", const="", help="write a page of plots")
    form.add_argument("--best", metavar="EXPERIMENT", help="write the best trial as an experiment")
    parser.add_argument("--trial", type=int, metavar="N", help="with --best: this trial")
    parser.add_argument("--force", action="store_true", help="with --best: replace the experiment")
    storage = "sqlite:///logs/sweeps.db"
    parser.add_argument("--storage", metavar="URL", default=storage, help=f"where sweeps are ({storage})")
    arguments = parser.parse_args()
    if arguments.name is None and (arguments.report is not None or arguments.best):
        parser.error("--report and --best need the NAME of a sweep")
    return arguments


if __name__ == "__main__":
    main()

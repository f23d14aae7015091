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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from canopy.text_tables import Form


def main() -> None:
    arguments = parse()
    try:
        sys.stdout.write(f"{answer(arguments)}\n")
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")


def answer(arguments: argparse.Namespace) -> str:
    """Do what the command line asks for, and say it."""
    # Here, since Optuna takes half a second that a mistake on the command line should not cost.
    from canopy.sweep.loading import load_sweep, load_sweeps
    from canopy.sweep.storage import DEFAULT_STORAGE
    from canopy.sweep.trials import list_sweeps, list_trials, summarize_sweep

    url = arguments.storage or DEFAULT_STORAGE
    form: Form = "json" if arguments.json else "csv" if arguments.csv else "text"
    if arguments.name is None:
        return list_sweeps(load_sweeps(url), form=form)
    sweep = load_sweep(arguments.name, url)
    if arguments.best:
        from canopy.params import mount_params
        from canopy.places import display_path
        from canopy.sweep.export import export_trial

        configs = Path(mount_params().paths.configs)
        path = export_trial(
            sweep, arguments.best, number=arguments.trial, force=arguments.force, configs=configs
        )
        return f"{display_path(path)}\npython src/train.py experiment={arguments.best}"
    if arguments.report:
        from canopy.sweep.report import write_report

        path = (
            Path("logs/sweeps", arguments.name, "report.html")
            if arguments.report is True
            else Path(arguments.report)
        )
        write_report(sweep, path)
        return str(path)
    trials = list_trials(sweep, order=arguments.order, form=form)
    return trials if form != "text" else f"{summarize_sweep(sweep)}\n\n{trials}"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="name of a sweep (default: list all)")
    parser.add_argument("--order", choices=("best", "number"), default="best", help="which trials come first")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")
    form.add_argument("--report", metavar="PATH", nargs="?", const=True, help="write a page of plots")
    form.add_argument("--best", metavar="EXPERIMENT", help="write the best trial as an experiment")
    parser.add_argument("--trial", type=int, metavar="N", help="with --best: this trial")
    parser.add_argument("--force", action="store_true", help="with --best: replace the experiment")
    parser.add_argument(
        "--storage", metavar="URL", help="where sweeps are (default: sqlite:///logs/sweeps.db)"
    )
    arguments = parser.parse_args()
    if arguments.name is None and (arguments.report or arguments.best):
        parser.error("--report and --best need the NAME of a sweep")
    if not arguments.best and (arguments.trial is not None or arguments.force):
        parser.error("--trial and --force belong to --best")
    return arguments


if __name__ == "__main__":
    main()

"""List training runs, or report the spread of their scores over seeds.

python src/runs.py                                            all runs, newest first
python src/runs.py --columns model.optimizer.lr,test.macro_f1 any key of config, record and scores
python src/runs.py --where status=finished --where "best>0.97" --sort -best
python src/runs.py --group model.optimizer.lr --columns best  mean, deviation, 95 % interval of each group
python src/runs.py logs/train/multiruns/NAME --summary        the same of every score in a folder of runs
python src/runs.py --csv > runs.csv                           all digits, for other programs; or --json
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from canopy.compare.listing import list_runs
from canopy.runs.find import find_runs


def main() -> None:
    arguments = parse(sys.argv[1:])
    form = "json" if arguments.json else "csv" if arguments.csv else "text"
    try:
        runs = find_runs(arguments.folders, logs=arguments.logs)
        options: Any = {"columns": arguments.columns, "where": arguments.where, "form": form}
        if arguments.summary or arguments.group:
            from canopy.compare.spread import summarize_runs  # here, since a list does without SciPy

            text = summarize_runs(runs, keys=arguments.group, **options)
        else:
            text = list_runs(runs, sort=arguments.sort, **options)
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
    sys.stdout.write(f"{text}\n")
    sys.stderr.writelines(f"Warning: {problem}\n" for run in runs for problem in run.problems)


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="*", help="runs, or folders of runs (default: all)")
    parser.add_argument("--columns", type=keys, default=[], metavar="KEY,KEY", help="what to show")
    parser.add_argument("--where", action="append", default=[], metavar="KEY=VALUE", help="or != < <= > >=")
    order = parser.add_mutually_exclusive_group()
    order.add_argument("--sort", metavar="KEY", help="key to sort by, -KEY for descending")
    order.add_argument("--group", type=keys, default=[], metavar="KEY,KEY", help="spread of equal runs")
    order.add_argument("--summary", action="store_true", help="spread of all the runs")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")
    parser.add_argument("--logs", type=Path, default=Path("logs"), help="where all runs are")
    # argparse would take the minus of a descending key for an option.
    if "--sort" in words[:-1]:
        at = words.index("--sort")
        words = [*words[:at], f"--sort={words[at + 1]}", *words[at + 2 :]]
    return parser.parse_args(words)


def keys(text: str) -> list[str]:
    return [key.strip() for key in text.split(",") if key.strip()]


if __name__ == "__main__":
    main()

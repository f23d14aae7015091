"""Compare two evaluated runs: what differs between them, and whether one is better.

python src/compare.py RUN_A RUN_B               folders of runs, or names as "python src/runs.py" lists them
python src/compare.py RUN_A RUN_B --split val
python src/compare.py RUN_A RUN_B --json
python src/compare.py logs/cross_validate/runs/A logs/cross_validate/runs/B   two cross-validations

The intervals say how far the two trained models' scores on these rows can be trusted. Whether a choice is
better for other seeds too is what several runs show: python src/runs.py --group KEY.
"""

import argparse
import sys
from pathlib import Path

from canopy.compare.comparison import compare, write_report
from canopy.runs.find import find_cross_validation, find_run
from canopy.text_tables import as_json


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run_a", metavar="RUN_A", help="the run to compare with")
    parser.add_argument("run_b", metavar="RUN_B", help="the run that may be better")
    parser.add_argument("--split", choices=("test", "val"), default="test", help="rows to compare on")
    parser.add_argument("--json", action="store_true", help="print JSON, with all digits")
    parser.add_argument("--logs", type=Path, default=Path("logs"), help="where the named runs are")
    arguments = parser.parse_args()
    try:
        names, logs = (arguments.run_a, arguments.run_b), arguments.logs
        if any(folders := [find_cross_validation(name, logs=logs) for name in names]):
            text = answer_folds(folders, arguments)
        else:
            a, b = (find_run(name, logs=logs) for name in names)
            comparison = compare(a, b, split=arguments.split)
            text = as_json(comparison) if arguments.json else write_report(a, b, comparison)
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
    sys.stdout.write(f"{text}\n")


def answer_folds(folders: list[Path | None], arguments: argparse.Namespace) -> str:
    from canopy.compare.folds import compare_folds, write_folds_report

    a, b = folders
    if a is None or b is None or arguments.split != "test":
        raise ValueError(
            "A cross-validation must be compared with another one that has its results, on the rows that its "
            f"folds test; got {arguments.run_a}, {arguments.run_b} and --split {arguments.split}"
        )
    comparison = compare_folds(a, b)
    return as_json(comparison) if arguments.json else write_folds_report(comparison)


if __name__ == "__main__":
    main()

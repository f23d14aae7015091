"""Compare two evaluated runs: what differs between them, and whether one is better.

python src/compare.py RUN_A RUN_B               folders of runs, or names as "python src/runs.py" lists them
python src/compare.py RUN_A RUN_B --split val
python src/compare.py RUN_A RUN_B --json

The intervals say how far the two trained models' scores on these rows can be trusted. Whether a choice is
better for other seeds too is what several runs show: python src/runs.py --group KEY.
"""

import argparse
import sys
from pathlib import Path

from canopy.compare.comparison import compare, write_report
from canopy.runs.find import find_run
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
        a, b = (find_run(name, logs=arguments.logs) for name in (arguments.run_a, arguments.run_b))
        comparison = compare(a, b, split=arguments.split)
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
    sys.stdout.write(f"{as_json(comparison) if arguments.json else write_report(a, b, comparison)}\n")


if __name__ == "__main__":
    main()

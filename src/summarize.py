"""Print the pipeline's result, or write it into the README and the documentation.

python src/summarize.py
python src/summarize.py --readme
python src/summarize.py --experiments   what the evaluated runs of configs/experiment/ reach, and its report
"""

import argparse
import sys
from pathlib import Path

from canopy.compare.experiments import REPORT, as_json, collect, compose_experiments, read_experiments
from canopy.compare.summary import DOCUMENTS, experiments_table, fill_document, summarize
from canopy.files import write_json, write_text
from canopy.params import mount_params
from canopy.runs.find import find_runs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--readme", action="store_true", help="write the tables into README.md and docs/")
    parser.add_argument("--experiments", action="store_true", help="gather what the experiments reach")
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="folder of the reports")
    arguments = parser.parse_args()
    try:
        if arguments.readme:
            for path in map(Path, DOCUMENTS):
                write_text(path, fill_document(path.read_text(encoding="utf-8"), arguments.reports))
        elif arguments.experiments:
            # Seeds without a run here keep what the report has, as long as their config is the same.
            recipes = compose_experiments(Path(mount_params().paths.configs))
            earlier = read_experiments(arguments.reports / REPORT)
            runs = find_runs([], logs=Path("logs"))
            found = collect(runs, recipes=recipes, earlier=earlier)
            sys.stderr.writelines(f"Warning: {problem}\n" for run in runs for problem in run.problems)
            if found.empty:
                raise ValueError("There must be finished and evaluated runs of an experiment; got none")
            write_json(arguments.reports / REPORT, as_json(found))
            sys.stdout.write(f"{experiments_table(found)}\n")
        else:
            sys.stdout.write(f"\n{summarize(arguments.reports)}\n")
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()

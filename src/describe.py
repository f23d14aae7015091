"""Draft the description of a table: a folder of datasets/ with its params.yaml and its file.

python src/describe.py wine.csv --target quality                  draft datasets/wine/
python src/describe.py wine.csv --target quality --name reds      under another name
python src/describe.py wine.csv --target quality --missing "?"    a further way in which the file writes a gap
"""

import argparse
import sys
from pathlib import Path

from canopy.table.draft import DATA_SETS, draft_data_set


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path, help="CSV file with a header line, in UTF-8")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="column with the class of each row")
    parser.add_argument("--name", help="name of the data set (default: that of the file)")
    parser.add_argument(
        "--missing",
        action="append",
        default=[],
        metavar="TEXT",
        help="how the file writes that there is no value",
    )
    arguments = parser.parse_args()
    try:
        if not DATA_SETS.is_dir():
            raise FileNotFoundError(
                f"Commands must run in the project's folder, beside {DATA_SETS}; found none in {Path.cwd()}"
            )
        folder = draft_data_set(
            arguments.table,
            target=arguments.target,
            name=arguments.name or arguments.table.stem,
            missing_values=arguments.missing,
        )
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
    sys.stdout.write(
        f"Drafted {folder}/params.yaml: read it, correct what it says of the columns, then\n"
        f"  make repro DATA={folder.name}\n"
    )


if __name__ == "__main__":
    main()

"""Print the pipeline's result, or write it into the README and the documentation.

python src/summarize.py
python src/summarize.py --readme
"""

import argparse
import sys
from pathlib import Path

from canopy.compare.summary import DOCUMENTS, fill_document, summarize
from canopy.files import write_text


def main() -> None:
    """Read the arguments and do one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--readme", action="store_true", help="write the tables into README.md and docs/")
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="folder of the reports")
    arguments = parser.parse_args()
    try:
        if arguments.readme:
            for path in map(Path, DOCUMENTS):
                write_text(path, fill_document(path.read_text(encoding="utf-8"), arguments.reports))
        else:
            sys.stdout.write(f"\n{summarize(arguments.reports)}\n")
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()

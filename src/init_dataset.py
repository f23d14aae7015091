"""Draft the params.yaml of a table from its file, in a new folder of datasets/.

python src/init_dataset.py wine.csv --target quality                      draft datasets/wine/
python src/init_dataset.py "parts/*.csv" --target quality --name wine     several files, one table
python src/init_dataset.py wine.csv --target quality --file ragged=drop   set a key of table.file
"""

import argparse
import sys
from pathlib import Path

from canopy.preset import DRAFTED, Size, describe_preset
from canopy.tables.draft.dialect import parse_options
from canopy.tables.draft.draft import DATA_SETS, Draft, describe, draft_table, new_folder, write_data_set


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", help="CSV, Parquet or JSON lines file, a folder of them or a pattern")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="column that is predicted")
    kinds = ("categorical", "numeric")
    kind_help = "classes or a number (default: a number if it has more than 30 different ones)"
    parser.add_argument("--target-kind", choices=kinds, help=kind_help)
    parser.add_argument("--name", help="name of the data set (default: that of the file)")
    file_help = "a key of table.file that should not be found out, such as delimiter=; or encoding=cp1251"
    parser.add_argument("--file", action="append", default=[], metavar="KEY=VALUE", help=file_help)
    arguments = parser.parse_args()
    try:
        if not DATA_SETS.is_dir():
            raise FileNotFoundError(
                f"Commands must run in the project's folder, which has {DATA_SETS}/; got {Path.cwd()}"
            )
        folder = new_folder(arguments.table, arguments.name)
        file_options = parse_options(arguments.file)
        target = {"target": arguments.target, "target_kind": arguments.target_kind}
        draft = draft_table(arguments.table, **target, file_options=file_options)
        write_data_set(draft, folder, train_comment=say_what_trains(draft))
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
    sys.stdout.write(
        f"{describe(draft)}\n\nDrafted {folder}/params.yaml. Correct the columns, first those with "
        f"an exclamation mark; then\n  make repro DATA={folder.name}\n"
    )


def say_what_trains(draft: Draft) -> list[str]:
    """Write the comment of the section `train`: all that the preset chooses for such a table."""
    n_numeric = sum(values.kind == "numeric" for values in draft.columns)
    size = Size(draft.n_training_rows, n_numeric, draft.schema.target.is_numeric)
    values = describe_preset(size, configs=Path(__file__).parents[1] / "configs")
    return [
        f"configs/preset/{DRAFTED}.yaml, which says why, gives for {size.n_rows:,} training rows:",
        *(f"  {value}" for value in values),
        "preset=quick is a first answer, preset=best takes an hour at most; any value can be added here.",
    ]


if __name__ == "__main__":
    main()

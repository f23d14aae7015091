"""Check the raw table and drop the columns that params.yaml lists: python scripts/drop_columns.py."""

from canopy.prepare import drop_columns
from canopy.runs.entry import entry_point

if __name__ == "__main__":
    entry_point("stage")(lambda params: drop_columns.run(params))()

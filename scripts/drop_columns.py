"""Check the raw table and drop the columns that params.yaml lists: python scripts/drop_columns.py."""

from omegaconf import DictConfig

from canopy.prepare import drop_columns
from canopy.runs.entry import entry_point


@entry_point("stage")
def main(params: DictConfig) -> None:
    drop_columns.run(params)


if __name__ == "__main__":
    main()

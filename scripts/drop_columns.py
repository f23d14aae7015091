"""Check the raw table and drop the columns that params.yaml lists: python scripts/drop_columns.py."""

from omegaconf import DictConfig

from canopy.entry import entry_point
from canopy.prepare import drop_columns


@entry_point("stage")
def main(params: DictConfig) -> None:
    drop_columns.run(params)


if __name__ == "__main__":
    main()

"""Assign each row to training, validation or test: python scripts/split.py."""

from omegaconf import DictConfig

from canopy.prepare import split
from canopy.runs.entry import entry_point


@entry_point("stage")
def main(params: DictConfig) -> None:
    split.run(params)


if __name__ == "__main__":
    main()

"""Bring the raw table: python scripts/fetch.py."""

from omegaconf import DictConfig

from canopy.prepare import fetch
from canopy.runs.entry import entry_point


@entry_point("stage")
def main(params: DictConfig) -> None:
    fetch.run(params)


if __name__ == "__main__":
    main()

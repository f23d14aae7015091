"""Find out what the raw table holds, and show it on a page: python scripts/explore.py."""

from omegaconf import DictConfig

from canopy.explore import explore
from canopy.runs.entry import entry_point


@entry_point("stage")
def main(params: DictConfig) -> None:
    explore.run(params)


if __name__ == "__main__":
    main()

"""Say of each row whether it trains, validates or tests: python scripts/split.py."""

from omegaconf import DictConfig

from canopy.entry import entry_point
from canopy.prepare import split


@entry_point("stage")
def main(params: DictConfig) -> None:
    split.run(params)


if __name__ == "__main__":
    main()

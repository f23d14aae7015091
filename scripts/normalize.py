"""Normalise the numeric columns: python scripts/normalize.py."""

from omegaconf import DictConfig

from canopy.prepare import normalize
from canopy.runs.entry import entry_point


@entry_point("stage")
def main(params: DictConfig) -> None:
    normalize.run(params)


if __name__ == "__main__":
    main()

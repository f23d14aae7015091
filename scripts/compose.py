"""Write down the composed training config: python scripts/compose.py."""

from omegaconf import DictConfig

from canopy.prepare import compose
from canopy.runs.entry import entry_point


@entry_point("stage")
def main(params: DictConfig) -> None:
    compose.run(params)


if __name__ == "__main__":
    main()

"""Cut the over-represented classes of the training rows: python scripts/cap_classes.py."""

from omegaconf import DictConfig

from canopy.prepare import cap_classes
from canopy.runs.entry import entry_point


@entry_point("stage")
def main(params: DictConfig) -> None:
    cap_classes.run(params)


if __name__ == "__main__":
    main()

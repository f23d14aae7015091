"""Turn the prepared table into tensors and a schema: python scripts/make_tensors.py."""

from omegaconf import DictConfig

from canopy.entry import entry_point
from canopy.prepare import make_tensors


@entry_point("stage")
def main(params: DictConfig) -> None:
    make_tensors.run(params)


if __name__ == "__main__":
    main()

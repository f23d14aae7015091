"""Turn the prepared table into tensors and a schema: python scripts/make_tensors.py."""

from omegaconf import DictConfig

from canopy.prepare import make_tensors
from canopy.runs.entry import entry_point


@entry_point("stage")
def main(params: DictConfig) -> None:
    make_tensors.run(params)


if __name__ == "__main__":
    main()

"""Assign each row to training, validation or test: python scripts/split.py."""

from canopy.prepare import split
from canopy.runs.entry import entry_point

if __name__ == "__main__":
    entry_point("stage")(lambda params: split.run(params))()

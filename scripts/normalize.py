"""Normalise the numeric columns: python scripts/normalize.py."""

from canopy.prepare import normalize
from canopy.runs.entry import entry_point

if __name__ == "__main__":
    entry_point("stage")(lambda params: normalize.run(params))()

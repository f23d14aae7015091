"""Bring the raw table: python scripts/fetch.py."""

from canopy.prepare import fetch
from canopy.runs.entry import entry_point

if __name__ == "__main__":
    entry_point("stage")(lambda params: fetch.run(params))()

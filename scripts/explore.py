"""Find out what the raw table holds, and show it on a page: python scripts/explore.py."""

from canopy.explore import explore
from canopy.runs.entry import entry_point

if __name__ == "__main__":
    entry_point("stage")(lambda params: explore.run(params))()

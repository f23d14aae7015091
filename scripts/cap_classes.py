"""Cut the over-represented classes of the training rows: python scripts/cap_classes.py."""

from canopy.prepare import cap_classes
from canopy.runs.entry import entry_point

if __name__ == "__main__":
    entry_point("stage")(lambda params: cap_classes.run(params))()

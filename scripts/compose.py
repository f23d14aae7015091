"""Write down the composed training config: python scripts/compose.py."""

from canopy.prepare import compose
from canopy.runs.entry import entry_point

if __name__ == "__main__":
    entry_point("stage")(lambda params: compose.run(params))()

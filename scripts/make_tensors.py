"""Turn the prepared table into tensors and a schema: python scripts/make_tensors.py."""

from canopy.prepare import make_tensors
from canopy.runs.entry import entry_point

if __name__ == "__main__":
    entry_point("stage")(lambda params: make_tensors.run(params))()

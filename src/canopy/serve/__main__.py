"""The server where nothing but its own packages is installed: python -m canopy.serve bundle=FOLDER.

Options and defaults are those of configs/serve.yaml, which must be below the working folder.
"""

import logging
import sys
from pathlib import Path

import yaml

from canopy.serve.server import serve
from canopy.serve.service import Settings


def read_settings(arguments: list[str]) -> Settings:
    """Read the defaults and the command line's `key=value` over them."""
    defaults = yaml.safe_load(Path("configs/serve.yaml").read_text(encoding="utf-8"))
    options = {name: defaults[name] for name in Settings.model_fields}
    given = (argument.partition("=") for argument in arguments)
    return Settings(**options | {name: yaml.safe_load(value) for name, _, value in given})


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    try:
        serve(read_settings(sys.argv[1:]))
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {error}")

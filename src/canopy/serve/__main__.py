"""The server where nothing but its own packages is installed: python -m canopy.serve bundle=FOLDER.

Options and defaults are those of configs/serve.yaml, which must be below the working folder.
"""

import logging
import sys
from pathlib import Path

import yaml

from canopy.serve.server import serve
from canopy.serve.settings import Settings

CONFIG = Path("configs/serve.yaml")


def read_settings(arguments: list[str]) -> Settings:
    """Read the defaults and the command line's `key=value` over them.

    Raises:
        ValueError: If an argument is no option, or its value is invalid.
    """
    defaults = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    options = {name: defaults[name] for name in Settings.model_fields}
    for argument in arguments:
        name, _, value = argument.partition("=")
        options[name] = yaml.safe_load(value)
    return Settings.parse(options)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    try:
        serve(read_settings(sys.argv[1:]))
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {error}")

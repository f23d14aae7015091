"""The server where nothing but its own packages is installed: python -m canopy.serve bundle=FOLDER.

Options and defaults are those of configs/serve.yaml, which must be below the working folder.
"""

import logging
import os
import sys
from dataclasses import fields
from pathlib import Path

import yaml

from canopy.serve.server import serve
from canopy.serve.settings import Settings

CONFIG = Path("configs/serve.yaml")


def read_settings(arguments: list[str]) -> Settings:
    """Read the defaults and the command line's `key=value` over them.

    Raises:
        ValueError: If an argument is no option.
    """
    names = {field.name for field in fields(Settings)} - {"api_key", "shared_folder"}
    content = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    options = {name: value for name, value in content.items() if name in names}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or name not in names:
            raise ValueError(f"Each argument must be one of {sorted(names)} with a value; found {argument!r}")
        options[name] = yaml.safe_load(value)
        if type(options[name]) is not type(content[name]):
            raise ValueError(f"{name} must be of the kind of {content[name]!r}; found {value!r}")
    return Settings(**options, api_key=os.environ.get("CANOPY_API_KEY"))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    try:
        serve(read_settings(sys.argv[1:]))
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {error}")

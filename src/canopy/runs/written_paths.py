"""Where a config lets a run write: the config of a run folder from elsewhere must not choose other places."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from canopy.quoting import write_override

# What writes, in a run's config.
SECTIONS = ("callbacks", "logger", "trainer")

# Options that name a file or folder, in our callbacks and loggers and in Lightning's; `_args_` may.
PATHS = frozenset({"_args_", "default_root_dir", "dir", "dirpath", "folder", "log_dir", "path", "save_dir"})


def check_written_paths(config: DictConfig, folder: Path, *, typed: Sequence[str] = ()) -> None:
    """Refuse a config that would have a run write outside its folder.

    Args:
        config: The config of a run folder.
        folder: The folder that the run writes to.
        typed: Keys that the command line sets; what a user types is the user's choice.
    """
    inside = folder.resolve()
    for section in SECTIONS:
        node = config.get(section)
        content = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
        for key, value in _texts(section, content):
            names_place = not PATHS.isdisjoint(key.split(".")[1:]) or (
                value.startswith(("/", "~")) or ".." in Path(value).parts or "://" in value
            )
            is_typed = any(key == name or key.startswith(f"{name}.") for name in typed)
            if names_place and not is_typed and not Path(value).resolve().is_relative_to(inside):
                hint = shlex.quote(write_override(f"++{key}", value))
                raise ValueError(
                    f"The config of a run or trial must write into its run's folder, {folder}; found "
                    f"{key}={value}: add {hint} to the command if that is meant"
                )


def _texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(f"{key}.{name}", item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(key, item)
    elif isinstance(value, str):
        yield key, value

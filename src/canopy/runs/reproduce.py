"""Reproduce a run from what its folder holds: same config, same data, same weights."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from canopy.places import display_path
from canopy.runs.differences import find_differences
from canopy.runs.run import BOOKKEEPING, DIFF, Run, check_same_data
from canopy.runs.written_paths import check_written_paths
from canopy.training.checkpoint import REFIT, load_checkpoint

log = logging.getLogger(__name__)


def reproduced_run(cfg: DictConfig) -> Run | None:
    """Find the run that a command reproduces.

    Raises:
        ValueError: If it is also to resume a run, whose folder the reproduced one would take.
    """
    if cfg.reproduce is None:
        return None
    if cfg.resume is not None:
        raise ValueError(
            f"One of reproduce and resume must be null; got reproduce={cfg.reproduce} and "
            f"resume={cfg.resume}: reproduce a run in its own folder, or resume one"
        )
    return Run(cfg.reproduce)


def reproduced_config(source: Run, composed: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Take the config of a run for a new one.

    Args:
        source: The run to reproduce.
        composed: The config of the command that reproduces it, of which only the new run's folder counts.
        overrides: Overrides as on the command line; what they change is another experiment, of course.

    Returns:
        The new run's config.

    Raises:
        ValueError: If an override names no value of the run's config, the config would write elsewhere than
            into the new run's folder, or the data is not the run's.
    """
    config = source.config
    typed = []
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group
        if key in BOOKKEEPING:
            continue
        missing = object()
        kept = OmegaConf.select(config, key, default=missing)
        group = isinstance(kept, DictConfig) and not isinstance(override.value(), dict)
        if kept is missing or group or override.is_delete():
            raise ValueError(
                f"A reproduced run takes single values of its own config; found {override.input_line}: "
                f"override a key of {source.path}/config.yaml, or start a new run"
            )
        OmegaConf.update(config, key, override.value())
        typed.append(key)
    for key in BOOKKEEPING:
        config[key] = composed[key]
    check_written_paths(config, Path(config.run_folder), typed=typed)
    check_same_data(source, Path(config.data.folder), splits=("train", "val"))
    return config


def warn_of_differences(source: Run, reproduced: Run) -> None:
    """Say what may keep a reproduced run from having the same weights.

    Args:
        source: The run that is reproduced.
        reproduced: The new run, its record written.
    """
    for command in source.record.get("commands", [])[1:]:
        if any(text.startswith(("trainer.max_epochs=", "callbacks.")) for text in command["overrides"]):
            log.warning("%s was changed by a later command: %s", source.path, " ".join(command["overrides"]))
    found = find_differences(source, reproduced)
    for kind in ("code", "packages", "machine"):
        texts = [f"{item.key} was {_short(item.a)}, is {_short(item.b)}" for item in found[kind]]
        if texts:
            more = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
            log.warning("Not the same %s: %s%s", kind, "; ".join(texts[:3]), more)
    if found["code"]:
        log.warning("%s", way_to_the_code(source))


def _short(value: object) -> str:
    """Write a value; of a hash its beginning."""
    text = str(value)
    return text if len(text) < 40 else f"{text[:12]}..."


def way_to_the_code(source: Run) -> str:
    """Tell how to get the code that a run was trained with."""
    git = source.record.get("git", {})
    if not git.get("commit"):
        return f"{source.path} was trained without git: its code is not known"
    text = f"The code of {source.path}: git checkout {git['commit']}"
    if git.get("dirty") and (source.path / DIFF).is_file():
        text += f" && git apply {display_path(source.path / DIFF)}"
    return text


def compare_with_source(source: Run, reproduced: Run, cfg: DictConfig) -> None:
    """Log whether a reproduced run has the weights of its source; no more if its config was changed."""
    if not same_config(source.config, cfg):
        return
    if not source.best_checkpoint.is_file():
        log.info("%s left no weights to compare with", source.path)
    elif same_weights(source.best_checkpoint, reproduced.best_checkpoint):
        log.info("The weights are those of %s to the last bit", source.path)
    else:
        log.warning("The weights are not those of %s", source.path)


def same_config(a: DictConfig, b: DictConfig) -> bool:
    """Say whether two configs train alike."""
    first, second = (
        {key: value for key, value in OmegaConf.to_container(config).items() if key not in BOOKKEEPING}  # type: ignore[union-attr]
        for config in (a, b)
    )
    return first == second


def same_weights(a: Path, b: Path) -> bool:
    """Say whether two checkpoints hold the same weights to the last bit.

    Raises:
        FileNotFoundError: If one is not there.
        ValueError: If one is damaged.
    """
    first, second = (
        {
            **checkpoint["state_dict"],
            **{(REFIT, key): value for key, value in checkpoint.get(REFIT, {}).items()},
        }
        for checkpoint in map(load_checkpoint, (a, b))
    )
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)

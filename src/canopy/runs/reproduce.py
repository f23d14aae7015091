"""Reproduce a run from what its folder holds: same config, same data, same weights."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from canopy.runs.differences import find_differences
from canopy.runs.run import BOOKKEEPING, Run, check_same_data
from canopy.runs.run_folder import check_written_paths
from canopy.training.checkpoint import REFIT, load_checkpoint

log = logging.getLogger(__name__)


def reproduced_config(source: Run, composed: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Take the config of a run for a new one, with overrides; of the composed one only the folder counts."""
    config = source.config
    typed = []
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group
        if key in BOOKKEEPING:
            continue
        missing = object()
        kept = OmegaConf.select(config, key, default=missing)
        is_group = isinstance(kept, DictConfig) and not isinstance(override.value(), dict)
        if kept is missing or is_group or override.is_delete():
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


def compare_with_source(source: Run, reproduced: Run) -> None:
    """Log whether a run has the weights of its source, or what differs; nothing if its config was changed."""
    found = find_differences(source, reproduced)
    if found["config"] or not source.best_checkpoint.is_file():
        return
    if same_weights(source.best_checkpoint, reproduced.best_checkpoint):
        log.info("The weights are those of %s to the last bit", source.path)
        return
    log.warning("The weights are not those of %s; what differs:", source.path)
    for kind, differences in found.items():
        for item in differences:
            log.warning("  %s: %s was %s, is %s", kind, item.key, item.a, item.b)


def same_weights(a: Path, b: Path) -> bool:
    """Check whether two checkpoints hold the same weights to the last bit, those of a refit included."""
    first, second = (
        {(part, key): value for part in ("state_dict", REFIT) for key, value in found.get(part, {}).items()}
        for found in map(load_checkpoint, (a, b))
    )
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)

"""Dotted keys: the names under which a run's config, record and scores are looked up."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

N_SUGGESTIONS = 5
# What decides how a run trains; the rest is where it is written and what it shows.
COMPARED = ("data", "model", "objective", "trainer")
SHOWN = {"default_root_dir", "enable_model_summary", "enable_progress_bar", "log_every_n_steps", "profiler"}
MACHINE = {"accelerator", "devices", "num_nodes", "strategy"}


def flatten(content: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Give the values of nested mappings by dotted key; lists stay whole.

    Examples:
        >>> flatten({"model": {"optimizer": {"lr": 0.1}, "hidden": [8, 8]}})
        {'model.optimizer.lr': 0.1, 'model.hidden': [8, 8]}
    """
    flat: dict[str, Any] = {}
    for key, value in content.items():
        nested = isinstance(value, Mapping) and value
        flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def check_known(asked: Iterable[str], known: Iterable[str]) -> None:
    """Refuse keys that no run has; the error names those that are near."""
    names = sorted({*known})
    for key in sorted({*asked}.difference(names)):
        last = key.rpartition(".")[2]
        likely = [name for name in names if name.rpartition(".")[2] == last or name.startswith(f"{key}.")]
        near = [*dict.fromkeys([*likely, *difflib.get_close_matches(key, names)])][:N_SUGGESTIONS]
        hint = f"did you mean {', '.join(near)}?" if near else "see config.yaml and run.json of a run"
        if key.startswith(("test.", "val.")) and not any(name.startswith(key[:4]) for name in names):
            hint = 'none of the runs is evaluated: "python src/evaluate.py run=<folder>" does it'
        raise ValueError(f"A key must be one of a run's config, record or scores; found {key!r}; {hint}")


def training_values(config: DictConfig) -> dict[str, Any]:
    """Give the values that decide how a run trains, by key and as they were written."""
    content: Any = OmegaConf.to_container(config)
    compared = {section: content[section] for section in COMPARED if section in content}
    if trainer := compared.get("trainer"):
        compared["trainer"] = {key: value for key, value in trainer.items() if key not in SHOWN}
    return flatten(compared)

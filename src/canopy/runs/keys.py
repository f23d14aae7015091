"""Dotted keys: the names under which a run's config, record and scores are looked up."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

N_SUGGESTIONS = 5
# What decides how a run trains; the rest is where it is written and what it shows.
COMPARED = ("data", "model", "objective", "trainer")
SHOWN = frozenset(
    {"default_root_dir", "enable_model_summary", "enable_progress_bar", "log_every_n_steps", "profiler"}
)
MACHINE = frozenset({"accelerator", "devices", "num_nodes", "strategy"})


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
    known = set(known)
    for key in asked:
        if key in known:
            continue
        if key.startswith(("test.", "val.")) and not any(name.startswith(key[:4]) for name in known):
            hint = 'none of the runs is evaluated: "python src/evaluate.py run=<folder>" does it'
        elif near := near_matches(key, known):
            hint = f"did you mean {', '.join(near)}?"
        else:
            hint = "see config.yaml and run.json of a run"
        raise ValueError(f"A key must be one of a run's config, record or scores; found {key!r}; {hint}")


def near_matches(key: str, known: Iterable[str]) -> list[str]:
    """Name the known keys that a misspelt or shortened one may mean, the likeliest first."""
    known, last = sorted(known), key.rpartition(".")[2]
    likely = [name for name in known if name.rpartition(".")[2] == last or name.startswith(f"{key}.")]
    similar = difflib.get_close_matches(key, known, n=N_SUGGESTIONS)
    return list(dict.fromkeys([*likely, *similar]))[:N_SUGGESTIONS]


def training_values(config: DictConfig) -> dict[str, Any]:
    """Give the values that decide how a run trains, by key and as they were written."""
    content: Any = OmegaConf.to_container(config)
    found = flatten({section: content[section] for section in COMPARED if section in content})
    return {key: value for key, value in found.items() if not is_shown(key)}


def is_shown(key: str) -> bool:
    """Check whether a value is one of the Trainer's that change nothing but what is shown."""
    section, _, rest = key.partition(".")
    return section == "trainer" and rest.partition(".")[0] in SHOWN

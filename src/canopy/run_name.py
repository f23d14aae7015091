"""Names of runs: what was chosen, not when."""

import re
from collections.abc import Sequence
from typing import Any

from omegaconf import ListConfig, OmegaConf

from canopy.params import TRAIN_EXPERIMENT

# Overrides that say nothing about the run itself: where its files go, what it resumes or reproduces.
BOOKKEEPING = ("resume=", "reproduce=", "name=", "publish.", "run_folder=", "hydra.", "hydra/")
MAX_LENGTH = 80  # longer ones are hard to read in lists and in TensorBoard


def run_name(
    name: str | None, experiment: str | None, overrides: Sequence[str], own_experiment: str | None = None
) -> str:
    """Name a run's folder after its experiment and what the command line changed in it.

    Of too many overrides the longest are left out. A run that chose no experiment is named after
    `own_experiment`, that of `params.yaml`. `run=<folder>` can be typed without quotes.
    """
    if name is not None:
        return _clean(str(name))[:MAX_LENGTH] or "run"
    reported = [text for text in as_typed(overrides) if not text.startswith((*BOOKKEEPING, "experiment="))]
    parts = [_clean(shorten_override(text)) for text in reported]
    first = _clean((own_experiment if experiment == TRAIN_EXPERIMENT else experiment) or "run")
    while parts and len("_".join([first, *parts])) > MAX_LENGTH:
        parts.remove(max(parts, key=len))
    return "_".join([first, *parts])[:MAX_LENGTH]


def as_typed(overrides: Sequence[str]) -> list[str]:
    """Give overrides with `${...}` in them as such: what the environment holds is not to be written down."""
    typed: Any = OmegaConf.to_container(overrides) if isinstance(overrides, ListConfig) else overrides
    return list(typed)


def shorten_override(text: str) -> str:
    """Leave of an override's key its last part, of a number three digits."""
    text = re.sub(r"^([+~]{0,2})(?:[\w/@-]+\.)+(?=[\w-]+=)", r"\1", text)
    return re.sub(r"(?<==)-?\d+\.\d{3,}(?:e-?\d+)?$", lambda number: f"{float(number[0]):.3g}", text)


def _clean(text: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_.+-]+", "-", re.sub(r"[\[\]'\"]|(?<=,) ", "", text)).strip("-")

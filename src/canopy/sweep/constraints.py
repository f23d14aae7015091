"""Bounds that a sweep's results are to respect."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from optuna.trial import FrozenTrial

from canopy.files import read_json
from canopy.runs.keys import flatten
from canopy.runs.run import RECORD
from canopy.sweep.attributes import VIOLATIONS


def constraints_of(trial: FrozenTrial, n: int) -> Sequence[float]:
    """Tell a sampler by how much a trial breaks each of n bounds; a trial without results breaks none."""
    violations: Sequence[float] = trial.user_attrs.get(VIOLATIONS, [0.0] * n)
    return violations


def parse_bound(text: str) -> tuple[str, float]:
    """Read an upper bound.

    Raises:
        ValueError: If the text is none.

    Examples:
        >>> parse_bound("training.n_parameters <= 5e5")
        ('training.n_parameters', 500000.0)
    """
    key, sign, bound = text.partition("<=")
    try:
        if not sign or not key.strip():
            raise ValueError
        return key.strip(), float(bound)
    except ValueError as error:
        raise ValueError(
            f"hydra.sweeper.constraints must be bounds such as training.n_parameters<=500000; found {text!r}"
        ) from error


def violations_of(run: Path, bounds: Mapping[str, float]) -> list[float] | None:
    """Measure by how much a run's recorded results exceed their upper bounds.

    Args:
        run: Folder of the run.
        bounds: Bound of each result, by its key in the record.

    Returns:
        A number for each bound; None if there is no bound, or the run has no results.

    Raises:
        ValueError: If a bounded result is not recorded.
    """
    if not bounds or not (run / RECORD).is_file():
        return None
    results = {
        key: float(value)
        for key, value in flatten(read_json(run / RECORD)).items()
        if isinstance(value, int | float)
    }
    return measure(results, bounds) if "best.score" in results else None


def measure(results: Mapping[str, float], bounds: Mapping[str, float]) -> list[float]:
    """Say by how much results exceed their upper bounds.

    Raises:
        ValueError: If a bounded result is not there.

    Examples:
        >>> measure({"training.n_parameters": 900.0}, {"training.n_parameters": 1000})
        [-100.0]
    """
    missing = [key for key in bounds if key not in results]
    if missing:
        raise ValueError(
            f"hydra.sweeper.constraints must name results of a run; found {', '.join(missing)}, and results "
            f"{', '.join(results)}"
        )
    return [results[key] - bound for key, bound in bounds.items()]

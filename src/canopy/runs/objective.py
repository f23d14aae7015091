"""What a run reports to a sweep: a value after each epoch, the objective at its end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning import Trainer

from canopy.runs.keys import flatten
from canopy.runs.report import Best, Phases, Report
from canopy.training.callbacks.trial_report import SweepTrial, TrialReport

# The parts of run.json that say how a run went.
PARTS = {"best": Best, "seconds": Phases, "training": Report}


def check_returns(keys: Sequence[str] | None) -> None:
    """Refuse keys of `objective.returns` that no `run.json` will have, before a run is trained.

    Raises:
        ValueError: If a key is none of a run's best epoch, seconds or training.

    Examples:
        >>> check_returns(["best.score", "best.metrics.val/nll", "training.n_parameters"])
    """
    for key in keys or ():
        part, _, field = key.partition(".")
        if part not in PARTS or field.partition(".")[0] not in PARTS[part].__annotations__:
            raise _no_number([key])


def objective_of(record: dict[str, Any], keys: Sequence[str] | None) -> float | tuple[float, ...]:
    """Read what a sweep optimises from a run's record: its best score, or the number of each dotted key.

    Raises:
        ValueError: If there is no such number.
    """
    if keys is None:
        score: float = record["best"]["score"]
        return score
    numbers = {key: value for key, value in flatten(record).items() if isinstance(value, int | float)}
    missing = [key for key in keys if key not in numbers]
    if missing:
        raise _no_number(missing)
    return tuple(float(numbers[key]) for key in keys)


def _no_number(keys: Sequence[str]) -> ValueError:
    return ValueError(
        f"objective.returns must name numbers of run.json; found {', '.join(keys)}: such as "
        "best.score, training.n_parameters, training.train_seconds"
    )


def report_to_sweep(
    trial: SweepTrial | None, trainer: Trainer, *, monitor: str, folder: Path
) -> TrialReport | None:
    """Let a run report its progress to the sweep whose trial it is; None if it is none's."""
    if trial is None:
        return None
    trial.name_run(folder)
    report = TrialReport(trial, monitor=monitor)
    trainer.callbacks.insert(0, report)  # type: ignore[attr-defined]
    return report

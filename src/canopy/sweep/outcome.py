"""How a trial's run ended: its result, read from the run's record, and the bounds that it breaks."""

from collections.abc import Mapping
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from canopy.files import read_json
from canopy.runs.keys import flatten
from canopy.runs.run import CONFIG, RECORD, Run
from canopy.sweep.attributes import RUN


def run_of(trial: FrozenTrial, *, project: Path = Path()) -> Run | None:
    """Open the folder of a trial's run, relative to `project`; None if it is not there."""
    run = trial.user_attrs.get(RUN)
    return Run(project / run) if run and (project / run / CONFIG).is_file() else None


def result_of(trial: FrozenTrial, *, study: str) -> tuple[TrialState, list[float] | None] | None:
    """Read how the run of an unfinished trial ended from the run's record.

    Args:
        trial: The trial.
        study: Name of its study.

    Returns:
        The state of the trial and its values, none where it was pruned; None if its run has not ended.
    """
    if trial.state is not TrialState.RUNNING or (run := run_of(trial)) is None:
        return None
    record = run.record
    if record.get("trial") != {"study": study, "number": trial.number}:
        return None
    if record["status"] == "pruned":
        return TrialState.PRUNED, None
    if record["status"] != "finished":
        return None
    # Here, since it imports lightning.
    from canopy.runs.record import objective_of

    values = objective_of(record, run.config.objective.returns)
    return TrialState.COMPLETE, [values] if isinstance(values, float) else [*values]


def violations_of(run: Path, bounds: Mapping[str, float]) -> dict[str, float]:
    """Measure by how much a run's recorded results exceed their upper bounds.

    Returns:
        A number for each bound by its key; nothing if there is no bound, or the run has no results.

    Raises:
        ValueError: If a bounded result is not recorded.
    """
    if not bounds or not (run / RECORD).is_file():
        return {}
    record = flatten(read_json(run / RECORD))
    if "best.score" not in record:
        return {}
    results = {key: value for key, value in record.items() if isinstance(value, int | float)}
    if missing := [key for key in bounds if key not in results]:
        raise ValueError(
            f"hydra.sweeper.constraints must name results of a run; got {', '.join(missing)}, and results "
            f"{', '.join(results)}"
        )
    return {key: float(results[key]) - bound for key, bound in bounds.items()}

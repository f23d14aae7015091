"""The run of a trial: its folder, the overrides of its command, its result, the bounds that it breaks."""

from collections.abc import Mapping
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from canopy.files import read_json
from canopy.quoting import write_choice
from canopy.runs.keys import flatten
from canopy.runs.run import CONFIG, RECORD, Run
from canopy.sweep import RUN, TRIAL_ATTRIBUTES

Result = tuple[TrialState, list[float] | None]


def run_of(trial: FrozenTrial) -> Run | None:
    """Open the folder of a trial's run; None if it is not there."""
    run = trial.user_attrs.get(RUN)
    return Run(run) if run and (Path(run) / CONFIG).is_file() else None


def overrides_of(trial: FrozenTrial) -> list[str]:
    """Give the overrides of a trial's command: those that its run recorded, or those of the sweep."""
    run = run_of(trial)
    if commands := run and run.record.get("commands"):
        return [str(override) for override in commands[0]["overrides"]]
    fixed = {key: value for key, value in trial.user_attrs.items() if key not in TRIAL_ATTRIBUTES}
    written = [f"{key}={'null' if value is None else value}" for key, value in fixed.items()]
    return [*written, *(write_choice(key, value) for key, value in trial.params.items())]


def result_of(trial: FrozenTrial, *, study: str) -> Result | None:
    """Read the state and the values of a trial from its run's record; None if its run has not ended."""
    run = run_of(trial)
    if run is None or run.record.get("trial") != {"study": study, "number": trial.number}:
        return None
    if run.record["status"] == "pruned":
        return TrialState.PRUNED, None
    if run.record["status"] != "finished":
        return None
    # Here, since it imports lightning.
    from canopy.runs.record import objective_of

    values = objective_of(run.record, run.config.objective.returns)
    return TrialState.COMPLETE, [values] if isinstance(values, float) else [*values]


def violations_of(run: Path, bounds: Mapping[str, float]) -> dict[str, float]:
    """Measure by how much a run's recorded results exceed their upper bounds; nothing if it has none.

    Raises:
        ValueError: If a bounded result is not recorded.
    """
    record = flatten(read_json(run / RECORD)) if bounds and (run / RECORD).is_file() else {}
    if "best.score" not in record:
        return {}
    for key in bounds:
        if not isinstance(record.get(key), int | float):
            raise ValueError(f"hydra.sweeper.constraints must name numbers of a run's run.json; got {key}")
    return {key: float(record[key]) - bound for key, bound in bounds.items()}

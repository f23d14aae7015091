"""The threshold of two classes in an evaluation: what it is chosen for, and how it is shown."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from canopy.files import PARAMS
from canopy.params import load_params, read_decision
from canopy.runs.run import Run
from canopy.tasks.decision import Decider, stored_threshold
from canopy.tasks.task import Task

log = logging.getLogger(__name__)


def make_decider(
    cfg: DictConfig, run: Run, *, task: Task, earlier: Mapping[str, Any], splits: Sequence[str]
) -> Decider | None:
    """Make what chooses the threshold, or keeps that of `earlier`, scores of the validation rows.

    The goal is that of the section `decision` of the command, or else of the run's project; None without one.
    """
    is_project = (run.project / PARAMS).is_file()
    params = (load_params(run.project) if is_project else run.config.pipeline).get("decision") or {}
    given = _without_nulls(OmegaConf.to_container(cfg.decision))
    goal, kept = read_decision(params, given), stored_threshold(earlier)
    if goal is not None and task.kind != "binary":
        found = "a number" if task.kind == "regression" else f"{task.n_outputs} classes"
        raise ValueError(
            f"decision.goal must be null where the target has not two classes; got {goal['name']} and "
            f"{found}, {task.schema.target}: a threshold is of the probability of one class against the other"
        )
    if "val" in splits:
        return None if goal is None else Decider(goal)
    if goal is not None and (kept is None or kept["goal"] != goal):
        raise ValueError(
            "decision.goal must be one whose threshold was chosen on validation rows; got "
            f"{write_goal(goal)} and split={splits[0]}: score both splits first, or set decision.goal=argmax"
        )
    return None if kept is None or given.get("goal") == "argmax" else Decider(**kept)


def join_scores(earlier: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    """Add scores to earlier ones of another split, without what those have by another threshold."""
    joined = {**earlier, **report}
    chosen = stored_threshold(joined.get("val", {}))
    for split, scores in joined.items():
        if split not in report and stored_threshold(scores) != chosen:
            joined[split] = {name: found for name, found in scores.items() if name != "decision"}
    return joined


def log_decision(split: str, scores: Mapping[str, Any]) -> None:
    if found := scores.get("decision"):
        shown = ", ".join(f"{name} {value:.4g}" for name, value in scores_of(found).items())
        log.info("%s, threshold %.4g for %s: %s", split, found["threshold"], write_goal(found["goal"]), shown)


def scores_of(decision: Mapping[str, Any]) -> dict[str, float]:
    """Give the scores at a threshold."""
    return {name: value for name, value in decision.items() if name not in ("goal", "threshold", "confusion")}


def write_goal(goal: Mapping[str, Any]) -> str:
    """Write a goal with its option: f_beta (beta 2)."""
    options = goal.get("cost_matrix", {name: value for name, value in goal.items() if name != "name"})
    written = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in options.items() if value)
    return f"{goal['name']} ({written})"


def _without_nulls(values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    return {name: _without_nulls(value) for name, value in values.items() if value is not None}

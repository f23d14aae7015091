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

OPTIONS = ("beta", "cost_matrix", "min_precision", "min_recall")


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
        n = task.n_outputs
        found = f"{n} classes" if task.kind == "multiclass" else "a number"
        raise ValueError(
            f"decision.goal must be null where the target has not two classes; got {goal['goal']} and "
            f"{found}, {task.schema.target}: a threshold is of the probability of one class against the other"
        )
    if "val" in splits:
        return None if goal is None else Decider(goal)
    if goal is None:
        return Decider(*_parted(kept)) if kept and given.get("goal") is None else None
    if kept is None or _parted(kept)[0] != goal:
        raise ValueError(
            f"decision.goal must be one whose threshold was chosen on validation rows; got {goal} and split="
            f"{splits[0]}: score both splits first, or leave it out with decision.goal=argmax"
        )
    return Decider(*_parted(kept))


def join_scores(earlier: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    """Add scores to earlier ones of another split, without what those have by another threshold."""
    joined = {**earlier, **report}
    if "val" in report and "test" not in report and "test" in joined:
        chosen = stored_threshold(report["val"])
        if stored_threshold(joined["test"]) != chosen:
            joined["test"] = {name: found for name, found in joined["test"].items() if name != "decision"}
    return joined


def log_decision(split: str, scores: Mapping[str, Any]) -> None:
    if found := scores.get("decision"):
        shown = ", ".join(f"{name} {found[name]:.4g}" for name in shown_scores(found))
        log.info("%s, threshold %.4g for %s: %s", split, found["threshold"], describe_goal(found), shown)


def describe_goal(found: Mapping[str, Any]) -> str:
    """Write a goal with its option: f_beta (beta 2)."""
    options = {name: found[name] for name in OPTIONS if name in found}
    options = options.pop("cost_matrix", options)
    written = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in options.items() if value)
    return f"{found['goal']} ({written})"


def shown_scores(found: Mapping[str, Any]) -> list[str]:
    """Name the scores that a report at a threshold has."""
    names = ("precision", "recall", "f1", "f_beta", "accuracy", "cost")
    return [name for name in names if name in found]


def describe_decision(
    curve: Mapping[str, Any], report: Mapping[str, Any], *, positive: str
) -> dict[str, Any] | None:
    """Give what the page shows of the threshold; None if there is none."""
    if not curve:
        return None
    found, scores = report["val"]["decision"], curve["scores"]
    lines = {name: scores[name] for name in ("precision", "recall", "f_beta") if name in scores}
    if costs := scores.get("cost"):
        # They have any unit.
        low, high = min(0, *costs), max(costs)
        lines[f"cost, {low:.4g} to {high:.4g}"] = [(cost - low) / (high - low) for cost in costs]
    return {
        **{name: curve[name] for name in ("thresholds", "roc", "precision")},
        "positive": positive,
        "goal": describe_goal(found),
        "names": shown_scores(found),
        "lines": lines,
    }


def _parted(kept: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """Part a goal from its threshold."""
    return {name: value for name, value in kept.items() if name != "threshold"}, kept["threshold"]


def _without_nulls(values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    return {name: _without_nulls(value) for name, value in values.items() if value is not None}

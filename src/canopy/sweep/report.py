"""A page of Optuna's own plots of a sweep."""

import html
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import plotly.graph_objects as go
from optuna import visualization
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from canopy.files import write_text
from canopy.sweep.loading import Sweep
from canopy.sweep.trials import summarize_sweep

# plotly.js is in the page, which loads nothing.
HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{font-family: sans-serif; max-width: 1100px; margin: 2em auto}}</style></head>
<body><h1>{title}</h1><pre>{summary}</pre>
"""


def write_report(sweep: Sweep, path: Path, *, project: Path = Path()) -> None:
    """Write the page atomically.

    Args:
        sweep: The sweep.
        path: File to write; what is there is replaced.
        project: The folder that the runs' folders are relative to.
    """
    write_text(path, render_report(sweep, project=project))


def render_report(sweep: Sweep, *, project: Path = Path()) -> str:
    """Write the page's text: HTML with the summary, the plots that the trials suffice for, and plotly.js."""
    summary = summarize_sweep(sweep, project=project)
    head = HEAD.format(title=html.escape(sweep.study_name), summary=html.escape(summary))
    plots = [
        figure.to_html(full_html=False, include_plotlyjs=number == 0)
        for number, figure in enumerate(draw_plots(sweep))
    ]
    return "\n".join([head, *(plots or ["<p>No trial is complete yet.</p>"]), "</body></html>\n"])


def draw_plots(sweep: Sweep) -> Iterator[go.Figure]:
    """Draw how the trials ran and, where two or more are complete, what they found."""
    trials = sweep.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    varied = {key for trial in complete for key in trial.params}
    names = sweep.metric_names
    if 2 <= len(names) <= 3 and complete:
        yield visualization.plot_pareto_front(sweep, target_names=names)
    for place, name in enumerate(names if len(complete) > 1 else []):
        target = partial(_value, place=place) if len(names) > 1 else None
        yield visualization.plot_optimization_history(sweep.recorded, target=target, target_name=name)
        if len(varied) > 1 and len({trial.values[place] for trial in complete}) > 1:
            yield _importances(sweep, name, place=place, target=target)
        if varied:
            yield visualization.plot_slice(sweep, target=target, target_name=name)
    if len(names) == 1:
        if len(varied) > 1 and len(complete) > 1:
            yield visualization.plot_parallel_coordinate(sweep, target_name=names[0])
        if any(trial.intermediate_values for trial in trials):
            yield visualization.plot_intermediate_values(sweep)
    if any(trial.datetime_start for trial in trials):
        yield visualization.plot_timeline(sweep.recorded)


def _value(trial: FrozenTrial, *, place: int, sign: float = 1.0) -> float:
    return sign * float(trial.values[place])


def _importances(
    sweep: Sweep, name: str, *, place: int, target: Callable[[FrozenTrial], float] | None
) -> go.Figure:
    if target and sweep.directions[place] is StudyDirection.MAXIMIZE:
        # With a target of ours, PED-ANOVA asks what makes it small.
        target = partial(_value, place=place, sign=-1.0)
    with warnings.catch_warnings():
        # It warns of that.
        warnings.filterwarnings("ignore", "PedAnovaImportanceEvaluator computes", UserWarning)
        return visualization.plot_param_importances(
            sweep, evaluator=PedAnovaImportanceEvaluator(), target=target, target_name=name
        )

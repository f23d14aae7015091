"""A page of Optuna's own plots of a sweep."""

import html
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import plotly.graph_objects as go
from optuna import visualization
from optuna.importance import PedAnovaImportanceEvaluator
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


def write_report(sweep: Sweep, path: Path) -> None:
    """Write a page of HTML with the summary, the plots that the trials suffice for, and plotly.js."""
    head = HEAD.format(title=html.escape(sweep.study_name), summary=html.escape(summarize_sweep(sweep)))
    plots = [
        figure.to_html(full_html=False, include_plotlyjs=number == 0)
        for number, figure in enumerate(draw_plots(sweep))
    ]
    parts = [head, *(plots or ["<p>No trial is complete yet.</p>"]), "</body></html>\n"]
    write_text(path, "\n".join(parts))


def draw_plots(sweep: Sweep) -> Iterator[go.Figure]:
    """Draw how the trials ran and, where two or more are complete, what they found."""
    trials = sweep.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    varied = {key for trial in complete for key in trial.params}
    names = sweep.objectives
    if 2 <= len(names) <= 3 and complete:
        yield visualization.plot_pareto_front(sweep, target_names=names)
    for place, name in enumerate(names if len(complete) > 1 else []):
        target = _target(place) if len(names) > 1 else None
        yield visualization.plot_optimization_history(sweep.recorded, target=target, target_name=name)
        if len(varied) > 1 and len({trial.values[place] for trial in complete}) > 1:
            # With a target of ours, PED-ANOVA asks what makes it small.
            best_is_low = _target(place, sweep.signs[place]) if target else None
            with warnings.catch_warnings():
                # It warns of that.
                warnings.filterwarnings("ignore", "PedAnovaImportanceEvaluator computes", UserWarning)
                evaluator = PedAnovaImportanceEvaluator()
                yield visualization.plot_param_importances(
                    sweep, evaluator=evaluator, target=best_is_low, target_name=name
                )
        if varied:
            yield visualization.plot_slice(sweep, target=target, target_name=name)
    if len(names) == 1:
        if len(varied) > 1 and len(complete) > 1:
            yield visualization.plot_parallel_coordinate(sweep, target_name=names[0])
        if any(trial.intermediate_values for trial in trials):
            yield visualization.plot_intermediate_values(sweep)
    if any(trial.datetime_start for trial in trials):
        yield visualization.plot_timeline(sweep.recorded)


def _target(place: int, sign: int = 1) -> Callable[[FrozenTrial], float]:
    return lambda trial: sign * float(trial.values[place])

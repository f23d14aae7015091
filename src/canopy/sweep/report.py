"""A page of Optuna's own plots of a sweep."""

import html
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna import visualization
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import TrialState

from canopy.files import write_text
from canopy.sweep.trials import objectives_of, summarize_sweep

# plotly.js is in the page, which loads nothing.
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{font-family: sans-serif; max-width: 1100px; margin: 2em auto}}</style></head>
<body><h1>{title}</h1><pre>{summary}</pre>
{plots}
</body></html>
"""


def write_report(sweep: optuna.Study, path: Path) -> None:
    """Write a page of HTML with the summary, the plots that the trials suffice for, and plotly.js."""
    figures = enumerate(draw_plots(sweep))
    plots = [figure.to_html(full_html=False, include_plotlyjs=number == 0) for number, figure in figures]
    title, summary = html.escape(sweep.study_name), html.escape(summarize_sweep(sweep))
    write_text(path, PAGE.format(title=title, summary=summary, plots="\n".join(plots)))


def draw_plots(sweep: optuna.Study) -> Iterator[go.Figure]:
    """Draw how the trials ran and what they found, where two or more are complete."""
    complete, names = sweep.get_trials(states=(TrialState.COMPLETE,)), objectives_of(sweep)
    if len(complete) < 2:
        return
    if 2 <= len(names) <= 3:
        yield visualization.plot_pareto_front(sweep, target_names=names)
    for place, name in enumerate(names):
        target = (lambda trial, place=place: trial.values[place]) if len(names) > 1 else None
        what: dict[str, Any] = {"target": target, "target_name": name}
        yield visualization.plot_optimization_history(sweep, **what)
        n_varied = len({key for trial in complete for key in trial.params})
        if n_varied > 1 and len({trial.values[place] for trial in complete}) > 1:
            # Optuna's default takes the lowest values of a target for the best.
            evaluator = FanovaImportanceEvaluator(seed=0) if target else None
            # Where no parameter that all trials have varies, there is nothing to draw.
            with suppress(RuntimeError):
                yield visualization.plot_param_importances(sweep, evaluator=evaluator, **what)
        yield visualization.plot_slice(sweep, **what)
    if len(names) == 1:
        yield visualization.plot_parallel_coordinate(sweep, target_name=names[0])
        if any(trial.intermediate_values for trial in complete):
            yield visualization.plot_intermediate_values(sweep)
    yield visualization.plot_timeline(sweep)

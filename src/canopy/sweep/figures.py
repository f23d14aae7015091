"""Optuna's own plots of a sweep, those that its trials suffice for."""

import json
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna import visualization
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from canopy.sweep.loading import WORDS, Sweep, is_feasible
from canopy.sweep.trials import param_keys, short_names

# What a picture needs to show more than a point.
_N_COMPLETE = 2
_N_OBJECTIVES_DRAWN = (2, 3)
# Source: Okabe and Ito, Color universal design, 2008.
_ACCENT, _POINT = "#D55E00", "#0072B2"
_STATE_COLORS = {
    "COMPLETE": "#0072B2",
    "PRUNED": "#E69F00",
    "FAIL": "#D55E00",
    "RUNNING": "#009E73",
    "WAITING": "#999999",
}
_BAR_HEIGHT = 34
_SHORTEST_MS = 1000


@dataclass(frozen=True)
class Plot:
    """One figure, or the sentence that says why it is left out.

    Attributes:
        name: Its element on the page.
        content: Traces and layout as plotly.js takes them; None if it is left out.
        missing: What the sweep lacks for it; None if it is drawn.
        height: Pixels.
        title: What tells it from others in its section.
    """

    name: str
    content: dict[str, Any] | None = None
    missing: str | None = None
    height: int = 400
    title: str | None = None


def draw_history(sweep: Sweep) -> list[Plot]:
    """Draw each trial's value and the best one so far."""
    if not _complete(sweep):
        return [Plot("history", missing="The history needs a complete trial.")]
    plots = []
    for i, (name, target) in enumerate(_targets(sweep)):
        figure = visualization.plot_optimization_history(sweep.recorded, target=target, target_name=name)
        figure.update_traces(marker={"color": _POINT, "size": 7}, selector={"mode": "markers"})
        figure.update_traces(line={"color": _ACCENT, "shape": "hv"}, selector={"mode": "lines"})
        figure.update_traces(name="best so far", selector={"mode": "lines"})
        figure.update_layout(xaxis_title="trial")
        plots.append(Plot(f"history-{i}", _content(figure)))
    return plots


def draw_importances(sweep: Sweep) -> list[Plot]:
    """Draw how much each parameter decides, by PED-ANOVA."""
    if (lacking := _lacking(sweep, n_params=2)) or (lacking := _constant(sweep)):
        return [Plot("importances", missing=f"The importance of parameters needs {lacking}.")]
    plots = []
    for i, (name, target) in enumerate(_targets(sweep)):
        if target and sweep.directions[i] is StudyDirection.MAXIMIZE:
            # With a target of ours, PED-ANOVA asks what makes it small.
            target = partial(_value, i=i, sign=-1)
        with warnings.catch_warnings():
            # It warns of that.
            warnings.filterwarnings("ignore", "PedAnovaImportanceEvaluator computes", UserWarning)
            figure = visualization.plot_param_importances(
                sweep, evaluator=PedAnovaImportanceEvaluator(), target=target, target_name=name
            )
        figure.update_layout(xaxis_title=f"share of what decides {name}", yaxis_title=None)
        figure.update_traces(marker_color=_POINT)
        n = len(param_keys(_complete(sweep)))
        plots.append(Plot(f"importances-{i}", _content(figure), height=120 + _BAR_HEIGHT * n))
    return plots


def draw_slices(sweep: Sweep) -> list[Plot]:
    """Draw the values over each parameter."""
    if lacking := _lacking(sweep, n_params=1):
        return [Plot("slices", missing=f"Values over each parameter need {lacking}.")]
    plots = []
    for i, (name, target) in enumerate(_targets(sweep)):
        for j, key in enumerate(param_keys(_complete(sweep))):
            figure = visualization.plot_slice(sweep, params=[key], target=target, target_name=name)
            labels = figure.layout.xaxis.categoryarray
            if labels:
                # Optuna labels a choice as Python writes it, a text in quotes.
                figure.update_xaxes(
                    tickmode="array", tickvals=labels, ticktext=[label.strip("'") for label in labels]
                )
            # The colour is the number of the trial; a scale beside each picture would take half of it.
            figure.update_traces(marker={"showscale": False, "size": 8})
            plots.append(Plot(f"slice-{i}-{j}", _content(figure), height=290, title=key))
    return plots


def draw_parallel(sweep: Sweep) -> list[Plot]:
    """Draw each complete trial as a line through its parameters and its value."""
    if lacking := _lacking(sweep, n_params=2):
        return [Plot("parallel", missing=f"Parallel coordinates need {lacking}.")]
    figure = visualization.plot_parallel_coordinate(sweep, target_name=sweep.metric_names[0])
    # Optuna's order; it would cut long keys at their end.
    keys = sorted(param_keys(_complete(sweep)))
    figure.update_xaxes(ticktext=[*sweep.metric_names, *short_names(keys)])
    figure.update_traces(line_width=1.8, selector={"mode": "lines"})
    figure.update_layout(plot_bgcolor=None)
    return [Plot("parallel", _content(figure), height=440)]


def draw_intermediate(sweep: Sweep) -> list[Plot]:
    """Draw the validation scores of each trial over its epochs."""
    if all(len(trial.intermediate_values) < 2 for trial in sweep.get_trials(deepcopy=False)):
        return [Plot("intermediate", missing="Curves need a trial with two validations.")]
    figure = visualization.plot_intermediate_values(sweep)
    names = {f"Trial{trial.number}": trial for trial in sweep.get_trials(deepcopy=False)}
    best = {trial.number for trial in sweep.best}

    def style(trace: go.Scatter) -> None:
        trial = names[trace.name]
        pruned, is_best = trial.state is TrialState.PRUNED, trial.number in best
        color = _ACCENT if is_best else _STATE_COLORS["PRUNED"] if pruned else _POINT
        trace.update(
            name=f"trial {trial.number}{', pruned' * pruned}{', best' * is_best}",
            line={"color": color, "width": 3 if is_best else 1.4},
            marker={"color": color, "size": 5},
            opacity=1.0 if is_best else 0.55,
        )

    figure.for_each_trace(style)
    # Drawn last, the best one lies on top.
    figure.data = sorted(figure.data, key=lambda trace: trace.name.endswith(", best"))
    figure.update_layout(xaxis_title="epoch", yaxis_title=sweep.metric_names[0])
    return [Plot("intermediate", _content(figure), height=440)]


def draw_timeline(sweep: Sweep) -> list[Plot]:
    """Draw when each trial ran."""
    trials = sweep.get_trials(deepcopy=False)
    if all(trial.datetime_start is None for trial in trials):
        return [Plot("timeline", missing="The timeline needs a trial that was started.")]
    verbosity = optuna.logging.get_verbosity()
    # It warns of a running trial that has had no news for long, and draws it backwards.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        figure = visualization.plot_timeline(sweep)
    finally:
        optuna.logging.set_verbosity(verbosity)
    figure.for_each_trace(lambda trace: trace.update(x=[max(width, _SHORTEST_MS) for width in trace.x]))
    for name, color in _STATE_COLORS.items():
        figure.update_traces(name=WORDS[TrialState[name]], marker_color=color, selector={"name": name})
    figure.update_layout(
        xaxis_title=None,
        yaxis={"title": "trial", "autorange": "reversed", "dtick": math.ceil(len(trials) / 10)},
    )
    return [Plot("timeline", _content(figure), height=min(160 + 9 * len(trials), 900))]


def draw_pareto_front(sweep: Sweep) -> list[Plot]:
    """Draw the trials that no other one beats in all objectives; nothing for a single objective."""
    n = len(sweep.directions)
    if n == 1:
        return []
    if n not in _N_OBJECTIVES_DRAWN:
        return [Plot("pareto", missing=f"The Pareto front can be drawn for 2 or 3 objectives, not for {n}.")]
    if not _complete(sweep):
        return [Plot("pareto", missing="The Pareto front needs a complete trial.")]
    figure = visualization.plot_pareto_front(sweep)
    for color, trace in zip((_POINT, _ACCENT), figure.data[-2:], strict=True):
        trace.marker = {"color": color, "size": 9 if n == 2 else 5}
    return [Plot("pareto", _content(figure), height=480)]


def _targets(sweep: Sweep) -> Iterator[tuple[str, Callable[[FrozenTrial], float] | None]]:
    """Give each objective's name and what reads its value; Optuna wants none for a single one."""
    names = sweep.metric_names
    for i, name in enumerate(names):
        yield name, None if len(names) == 1 else partial(_value, i=i)


def _value(trial: FrozenTrial, *, i: int, sign: int = 1) -> float:
    return sign * float(trial.values[i])


def _complete(sweep: Sweep) -> list[FrozenTrial]:
    """Give the complete trials that can be drawn: Optuna leaves out those with an infinite value."""
    trials = sweep.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in trials if all(map(math.isfinite, trial.values))]


def _lacking(sweep: Sweep, *, n_params: int) -> str | None:
    """Say what a picture of values over parameters lacks."""
    complete = _complete(sweep)
    if len(complete) < _N_COMPLETE:
        return (
            f"{_N_COMPLETE} complete trials (there {'is' if len(complete) == 1 else 'are'} {len(complete)})"
        )
    n_varied = len(param_keys(complete))
    if n_varied < n_params:
        return f"{n_params} parameters (the sweep varies {n_varied})" if n_params > 1 else "a parameter"
    return None


def _constant(sweep: Sweep) -> str | None:
    """Say that values which are all the same depend on nothing."""
    feasible = [trial.values for trial in _complete(sweep) if is_feasible(trial)]
    same = any(len(set(values)) < 2 for values in zip(*feasible, strict=True)) or not feasible
    return "trials with different values" if same else None


def _content(figure: go.Figure) -> dict[str, Any]:
    """Give a figure's traces and layout, without title and colours of the page, which has its own."""
    figure.update_layout(title=None)
    content: dict[str, Any] = json.loads(figure.to_json())
    content["layout"].pop("template", None)
    return content

"""The report of a sweep: one HTML page that needs nothing else."""

import json
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial
from plotly.offline import get_plotlyjs

from canopy.compare.tables import format_value
from canopy.files import write_text
from canopy.sweep.figures import (
    Plot,
    draw_history,
    draw_importances,
    draw_intermediate,
    draw_parallel,
    draw_pareto_front,
    draw_slices,
    draw_timeline,
)
from canopy.sweep.loading import Sweep
from canopy.sweep.overrides import repeating_command
from canopy.sweep.trials import describe_trial, param_keys, short_names

# Section of the page: its heading, its pictures and how to read them.
_SECTIONS = {
    "pareto": (
        "Pareto front",
        draw_pareto_front,
        "Red: trials that no other trial beats in all objectives at once. Blue: the other complete trials.",
    ),
    "history": (
        "History",
        draw_history,
        "Each dot is a complete trial. The line is the best value so far, of a single objective: where it "
        "has long been flat, more trials will gain little.",
    ),
    "importances": (
        "Importance",
        draw_importances,
        "How much of what sets the best tenth of the complete trials apart each parameter explains, by "
        "PED-ANOVA: Optuna's default, fast for many trials and able to treat parameters that only some of "
        "them have. With few trials it is a hint.",
    ),
    "slices": (
        "Each parameter",
        draw_slices,
        "Value of each complete trial over one parameter; the darker, the later. Where dark dots press "
        "against an edge, a wider range may hold something better.",
    ),
    "parallel": (
        "All parameters together",
        draw_parallel,
        "Each line is a complete trial, from its value on the left through its parameters. Of several "
        "objectives the colour gives the rank: 0 is the Pareto front.",
    ),
    "intermediate": (
        "Curves",
        draw_intermediate,
        "Value after each validation. Blue: complete, amber: pruned, red and thick: the best trial.",
    ),
    "timeline": (
        "Timeline",
        draw_timeline,
        "When each trial ran; gaps are time in which nothing trained.",
    ),
}


def write_report(sweep: Sweep, path: Path, *, project: Path = Path()) -> None:
    """Write the page, whole or not at all.

    Args:
        sweep: The sweep.
        path: File to write; what is there is replaced.
        project: The folder that the runs' folders are relative to.
    """
    write_text(path, render_report(sweep, project=project))


def render_report(sweep: Sweep, *, project: Path = Path()) -> str:
    """Write the page's text.

    Args:
        sweep: The sweep.
        project: The folder that the runs' folders are relative to.

    Returns:
        HTML with all styles, data and plotly.js in it.
    """
    environment = jinja2.Environment(
        loader=jinja2.PrefixLoader(
            {name: jinja2.PackageLoader(f"canopy.{name}", ".") for name in ("explore", "sweep")}
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(value=format_value, duration=duration, script=script)
    ranked = sweep.ranked()
    keys = param_keys(ranked)
    plots = {name: draw(sweep) for name, (_, draw, _) in _SECTIONS.items()}
    counts = sweep.counts
    return environment.get_template("sweep/report.html.jinja").render(
        name=sweep.study_name,
        goals=sweep.goals,
        objectives=sweep.metric_names,
        counts=counts,
        n_trials=sum(counts.values()),
        train_seconds=sum(trial.duration.total_seconds() for trial in ranked if trial.duration),
        best=[_describe_best(sweep, trial, keys=keys, project=project) for trial in sweep.best],
        n_epochs=sum(len(trial.intermediate_values) for trial in ranked),
        sections=[
            {"anchor": name, "title": title, "reading": reading, "plots": drawn}
            for name, (title, _, reading) in _SECTIONS.items()
            if (drawn := _drawn(plots[name]))
        ],
        missing=[plot.missing for found in plots.values() for plot in found if plot.missing],
        keys=dict(zip(keys, short_names(keys), strict=True)),
        trials=[describe_trial(sweep, trial, keys=keys) for trial in ranked],
        plotly=Markup(get_plotlyjs()),  # noqa: S704 - the library itself
    )


def duration(seconds: float) -> str:
    """Write a time as one says it.

    Examples:
        >>> [duration(seconds) for seconds in (8.2, 59.6, 95, 3599.7, 7260)]
        ['8 s', '1 min', '1 min 35 s', '1 h', '2 h 1 min']
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    largest = next((i for i, (n, _) in enumerate(parts) if n), 2)
    return " ".join(f"{n} {unit}" for n, unit in parts[largest : largest + 2] if n) or "0 s"


def script(content: Any) -> Markup:
    """Write data for a script element, which no text in it can end."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - nothing in it can end the element


def _drawn(plots: list[Plot]) -> list[Plot]:
    return [plot for plot in plots if plot.content is not None]


def _describe_best(sweep: Sweep, trial: FrozenTrial, *, keys: list[str], project: Path) -> dict[str, Any]:
    """Give what the page says of a best trial: its values, where its parameters lie, how to repeat it."""
    return describe_trial(sweep, trial, keys=keys) | {
        "values": dict(zip(sweep.metric_names, trial.values, strict=True)),
        "params": [
            {"key": key, "value": value, "searched": _searched(trial.distributions[key])}
            for key, value in trial.params.items()
        ],
        "command": repeating_command(trial, project=project, script=sweep.script),
    }


def _searched(distribution: BaseDistribution) -> str:
    """Say where a parameter was searched."""
    if isinstance(distribution, CategoricalDistribution):
        return f"one of {', '.join(map(format_value, distribution.choices))}"
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    text = f"{format_value(distribution.low)} to {format_value(distribution.high)}"
    if distribution.log:
        return f"{text}, log scale"
    step = distribution.step
    return f"{text} in steps of {format_value(step)}" if step not in (None, 1) else text

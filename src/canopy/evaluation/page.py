"""Render scores and explanation of a run as one HTML page that needs nothing else."""

import base64
import io
from collections.abc import Mapping
from math import floor
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from canopy.evaluation.decision import scores_of, write_goal
from canopy.explore.templates import class_colors, page_environment
from canopy.explore.wording import moment, number
from canopy.tasks.calibration import Calibration
from canopy.tasks.scores import Scores
from canopy.tasks.task import Task, TaskScores

# Classes of a confusion matrix, features with bars, worse slices, and columns of the mistakes that are shown.
N_CLASSES, N_BARS, N_SLICES, N_COLUMNS = 40, 40, 30, 12


def render_page(
    report: dict[str, Any],
    explanation: dict[str, Any],
    *,
    title: str,
    run_name: str,
    task: Task,
    scores: Mapping[str, TaskScores],
    calibrations: Mapping[str, Any],
    figures: Mapping[str, Figure],
) -> str:
    """Write the page, HTML with all styles and plots in it.

    `figures` are those of numbers by title, or that of a `Threshold`.
    """
    splits = [split for split in ("test", "val") if split in report]
    features, dependence = explanation["features"], explanation["dependence"]
    is_number = task.kind == "regression"
    plots = {
        name: scale_values(item, dependence["curves"][name]["places"], kind=features[name]["kind"])
        | scale_predictions(item, dependence["curves"][name]["rows"], is_share=not is_number)
        for name, item in dependence["features"].items()
    }
    measure = "mae" if is_number else "accuracy"
    worse, every = explanation["slices"]["worse"], explanation["slices"]["all"]
    of_feature: dict[str, list[dict[str, Any]]] = {}
    for item in every:
        of_feature.setdefault(item["feature"] or "", []).append(item)
    ends = [end for item in every for end in item[f"{measure}_interval"]]
    lowest = 0.0 if is_number else floor(10 * min([0.9, *ends])) / 10
    template = page_environment("canopy.evaluation").get_template("evaluation.html.jinja")
    return template.render(
        title=title,
        run_name=run_name,
        report={split: report[split] for split in splits},
        main=splits[0],
        **explanation,
        **_describe_classes(scores[splits[0]]),
        is_number=is_number,
        losses=[key for _, key in task.mean_scores],
        measure=measure,
        images={name: encode_figure(figure) for name, figure in figures.items()},
        colors=dict(zip(task.output_names, class_colors(len(task.output_names)), strict=True)),
        calibrations={
            split: describe_calibration(calibrations[split], report[split])
            for split in splits
            if split in calibrations and not is_number
        },
        positive=task.output_names[-1],
        scores_of=scores_of,
        write_goal=write_goal,
        shown_importance=dict([*explanation["importance"]["features"].items()][:N_BARS]),
        shown_worse=worse[:N_SLICES],
        of_feature=of_feature,
        shown_columns=[*features][:N_COLUMNS],
        plots=plots,
        lowest=lowest,
        highest=max([1e-12, *ends]) if is_number else 1,
    )


def _describe_classes(scores: TaskScores) -> dict[str, Any]:
    """Give the confusion matrix of the largest classes; nothing for numbers."""
    if not isinstance(scores, Scores):
        return {}
    largest = np.sort(np.argsort(-scores.support, kind="stable")[:N_CLASSES])
    shares = scores.shares
    return {
        "shown_classes": [scores.class_names[place] for place in largest],
        "confusion": scores.confusion[np.ix_(largest, largest)].tolist(),
        "confusion_shares": shares[np.ix_(largest, largest)].tolist(),
        "support": scores.support[largest].tolist(),
    }


def encode_figure(figure: Figure) -> str:
    """Give a figure as PNG in Base64."""
    file = io.BytesIO()
    figure.savefig(file, dpi=110, format="png")
    return base64.b64encode(file.getvalue()).decode()


def scale_predictions(item: dict[str, Any], rows: list[list[float]], *, is_share: bool) -> dict[str, Any]:
    """Place mean predictions and those of rows from 0 to 1, with ticks; shares stay as they are."""
    means = {name: found["mean"] for name, found in item["classes"].items()}
    if is_share:
        return {"means": means, "rows": rows, "y_ticks": {x: f"{x:g}" for x in (0, 0.25, 0.5, 0.75, 1)}}
    every = np.concatenate([*means.values(), *rows])
    # Single rows may be far off.
    low, high = np.quantile(every, [0.02, 0.98]) if len(every) else (0.0, 1.0)
    low, high = min(low, *map(min, means.values())), max(high, *map(max, means.values()))
    high = max(high, low + 1e-9 * max(1.0, abs(low)))
    ticks = [x for x in MaxNLocator(4).tick_values(low, high) if low <= x <= high]
    places = np.interp(ticks, [low, high], [0, 1])
    return {
        "means": {name: np.interp(mean, [low, high], [0, 1]).tolist() for name, mean in means.items()},
        "rows": [np.interp(row, [low, high], [0, 1]).tolist() for row in rows],
        "y_ticks": {float(x): number(tick) for x, tick in zip(places, ticks, strict=True)},
    }


def scale_values(item: dict[str, Any], places: list[float], *, kind: str) -> dict[str, Any]:
    """Place values of a number or time from 0 to 1, with ticks; a missing one, the last, is a step behind."""
    n = sum(value is not None for value in item["values"])
    first, last = (places[0], places[n - 1]) if n else (0.0, 0.0)
    step = 0.12 * (last - first)
    bounds = [first, max(last + step * (n < len(places)), first + 1e-12)]
    write, most = (moment, 3) if kind == "datetime" else (number, 5)
    found = MaxNLocator(most).tick_values(first, last) if first < last else [first] * min(n, 1)
    ticks = {float(np.interp(tick, bounds, [0, 1])): write(tick) for tick in found if first <= tick <= last}
    if n < len(places):
        ticks[1.0 if n else 0.0] = "missing"
    xs = np.interp([*places[:n], *[last + step] * (len(places) - n)], bounds, [0, 1])
    return {"xs": xs.round(4).tolist(), "ticks": ticks}


def describe_calibration(found: Calibration, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Give the points of a reliability diagram, and the rows of each bin on a logarithmic scale up to 1."""
    lines = []
    for name, part, own in (
        ("as it is", found.before, scores),
        ("calibrated", found.after, scores["calibrated"]),
    ):
        full = part.counts > 0
        points = np.stack([part.confidence[full], part.accuracy[full]], axis=1).tolist()
        lines.append({"name": name, "points": points, "nll": own["nll"], "ece": own["ece"]})
    heights = np.log1p(found.before.counts) / np.log1p(found.before.counts.max())
    return {"temperature": found.temperature, "lines": lines, "heights": heights.tolist()}

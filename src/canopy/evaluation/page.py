"""Render scores and explanation of a run as one HTML page that needs nothing else."""

from collections.abc import Mapping
from math import floor
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from canopy.explore.templates import class_colors, page_environment
from canopy.explore.wording import moment, number
from canopy.tasks.calibration import Calibration
from canopy.tasks.scores import Scores

# Classes of a confusion matrix, features with bars, worse slices, and columns of the mistakes that are shown.
N_CLASSES, N_BARS, N_SLICES, N_COLUMNS = 40, 40, 30, 12


def render_page(
    report: dict[str, Any],
    explanation: dict[str, Any],
    *,
    title: str,
    run_name: str,
    scores: Mapping[str, Scores],
    calibrations: Mapping[str, Calibration],
) -> str:
    """Write the page, HTML with all styles and plots in it."""
    splits = [split for split in ("test", "val") if split in report]
    main = scores[splits[0]]
    largest = np.sort(np.argsort(-main.support, kind="stable")[:N_CLASSES])
    shares = main.confusion / np.maximum(main.support, 1)[:, None]
    features, dependence = explanation["features"], explanation["dependence"]
    plots = {
        name: scale_values(item, dependence["curves"][name]["places"], kind=features[name]["kind"])
        for name, item in dependence["features"].items()
    }
    worse, every = explanation["slices"]["worse"], explanation["slices"]["all"]
    of_feature: dict[str, list[dict[str, Any]]] = {}
    for item in every:
        of_feature.setdefault(item["feature"] or "", []).append(item)
    found = {split: describe_calibration(calibrations[split], report[split]) for split in calibrations}
    template = page_environment("canopy.evaluation").get_template("evaluation.html.jinja")
    return template.render(
        title=title,
        run_name=run_name,
        report={split: report[split] for split in splits},
        main=splits[0],
        **explanation,
        shown_classes=[main.class_names[place] for place in largest],
        confusion=main.confusion[np.ix_(largest, largest)].tolist(),
        confusion_shares=shares[np.ix_(largest, largest)].tolist(),
        support=main.support[largest].tolist(),
        colors=dict(zip(main.class_names, class_colors(len(main.class_names)), strict=True)),
        calibrations={split: found[split] for split in splits if split in found},
        shown_importance=dict([*explanation["importance"]["features"].items()][:N_BARS]),
        shown_worse=worse[:N_SLICES],
        of_feature=of_feature,
        shown_columns=[*features][:N_COLUMNS],
        plots=plots,
        lowest=floor(10 * min([0.9, *(item["accuracy_interval"][0] for item in every)])) / 10,
    )


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

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
# In the SVG's own units; the page scales a plot to the width it has.
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 360.0, 34.0, 350.0, 8.0, 168.0
# Of a feature's categories: where their names end, height of a line.
LABEL, LINE = 140.0, 19.0
SHARES = (0, 0.25, 0.5, 0.75, 1)


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
    dependence = explanation["dependence"]["features"]
    features = explanation["features"]
    colors = dict(zip(main.class_names, class_colors(len(main.class_names)), strict=True))
    plots = {
        name: draw_curves(item, kind=features[name]["kind"], colors=colors)
        for name, item in dependence.items()
    }
    worse, every = explanation["slices"]["worse"], explanation["slices"]["all"]
    of_feature: dict[str, list[dict[str, Any]]] = {}
    for item in every:
        of_feature.setdefault(item["feature"] or "", []).append(item)
    return (
        page_environment("canopy.evaluation")
        .get_template("evaluation.html.jinja")
        .render(
            title=title,
            run_name=run_name,
            report={split: report[split] for split in splits},
            main=splits[0],
            **explanation,
            shown_classes=[main.class_names[place] for place in largest],
            confusion=main.confusion[np.ix_(largest, largest)].tolist(),
            confusion_shares=shares[np.ix_(largest, largest)].tolist(),
            support=main.support[largest].tolist(),
            n_classes=len(main.class_names),
            calibrations={
                split: draw_calibration(calibrations[split], report[split])
                for split in splits
                if split in calibrations
            },
            shown_importance=dict([*explanation["importance"]["features"].items()][:N_BARS]),
            shown_worse=worse[:N_SLICES],
            of_feature=of_feature,
            shown_columns=[*features][:N_COLUMNS],
            plots=plots,
            lowest=floor(10 * min([0.9, *(item["accuracy_interval"][0] for item in every)])) / 10,
        )
    )


def draw_curves(item: dict[str, Any], *, kind: str, colors: Mapping[str, str]) -> dict[str, Any]:
    """Turn the partial dependence on a feature into points: of categories in lines, else in curves."""
    values, places = item["values"], np.array(item["places"])
    if kind == "categorical":
        lines = [LINE * (place + 1) for place in range(len(values))]
        foot = lines[-1] + 8
        classes = [
            {"name": name, "color": colors[name], "xs": _across(curve["mean"], LABEL).round(1).tolist()}
            for name, curve in item["classes"].items()
        ]
        ticks = _across(SHARES, LABEL).round(1).tolist()
        shares = [*zip(ticks, map("{:g}".format, SHARES), strict=True)]
        texts = [*zip(lines, values, strict=True)]
        return {
            "rows": texts,
            "shares": shares,
            "foot": foot,
            "classes": classes,
            "width": WIDTH,
            "left": LABEL,
        }
    n = sum(value is not None for value in values)
    first, last = (places[0], places[n - 1]) if n else (0.0, 0.0)
    # A missing value, the last one, is a step behind the numbers.
    places = np.where(np.isnan(places), last + 0.12 * (last - first), places)
    write = moment if kind == "datetime" else number
    found = MaxNLocator(3 if kind == "datetime" else 5).tick_values(first, last) if first < last else [first]
    ticks = [(tick, write(tick)) for tick in found if first <= tick <= last and n]
    ticks += [(place, "missing") for place in places[n:]]
    middle = (LEFT + RIGHT) / 2
    ends = (LEFT + 6, RIGHT - 6) if first < last else (middle, middle)
    bounds = [first, max(places[-1], first + 1e-12)]
    xs = np.interp(places, bounds, ends)
    classes = []
    for place, (name, curve) in enumerate(item["classes"].items()):
        # Those of all classes would hide one another.
        rows = [" ".join(_points(xs, row)) for row in curve["curves"]] if place == 0 else []
        points = _points(xs, curve["mean"])
        dots = [point.split(",") for point in points]
        classes.append(
            {"name": name, "color": colors[name], "line": " ".join(points), "rows": rows, "dots": dots}
        )
    at = np.interp([tick for tick, _ in ticks], bounds, ends).round(1).tolist()
    return {
        "ticks": [(x, text) for x, (_, text) in zip(at, ticks, strict=True)],
        "classes": classes,
        **_frame(),
    }


def _across(shares: Any, left: float) -> Any:
    return left + np.asarray(shares) * (RIGHT - left)


def draw_calibration(found: Calibration, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a calibration into lines: share that is right over the probability of the predicted class."""
    lines: list[dict[str, Any]] = []
    colors = class_colors(2)
    for name, part, color in (("as it is", found.before, colors[0]), ("calibrated", found.after, colors[1])):
        full = part.counts > 0
        points = _points(LEFT + part.confidence[full] * (RIGHT - LEFT), part.accuracy[full])
        dots = [point.split(",") for point in points]
        lines.append({"name": name, "color": color, "line": " ".join(points), "dots": dots})
    lines[0] |= {name: scores[name] for name in ("nll", "ece")}
    lines[1] |= {name: scores["calibrated"][name] for name in ("nll", "ece")}
    counts = found.before.counts
    width = (RIGHT - LEFT) / len(counts)
    shares = np.log1p(counts) / np.log1p(counts.max()) * 0.25
    bars = [
        {"x": round(LEFT + place * width, 1), "height": round(float(share) * (BOTTOM - TOP), 1), "n": int(n)}
        for place, (share, n) in enumerate(zip(shares, counts, strict=True))
    ]
    return {
        "temperature": found.temperature,
        "lines": lines,
        "bars": bars,
        "bar_width": round(width - 1, 1),
        **_frame(),
    }


def _frame() -> dict[str, Any]:
    heights = [(round(BOTTOM - share * (BOTTOM - TOP), 1), f"{share:g}") for share in SHARES]
    edges = {"left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM}
    return {"width": WIDTH, "heights": heights, **edges}


def _points(xs: Any, shares: Any) -> list[str]:
    ys = BOTTOM - np.asarray(shares) * (BOTTOM - TOP)
    return [f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True)]

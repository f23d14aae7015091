"""Render the findings as one HTML page that needs nothing else, with the densities of the classes as SVG."""

import math
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import gaussian_filter1d

from canopy.explore.columns import RARE
from canopy.explore.information import LITTLE_INFORMATION
from canopy.explore.profile import Codes, Profile
from canopy.explore.templates import class_colors, page_environment
from canopy.explore.wording import moment, number
from canopy.prepare.reductions import Floats

# Most classes, columns with a plot, and single categories that are shown.
N_CLASSES, N_PLOTS, N_CATEGORIES = 30, 60, 60
N_BINS = 96
# In bins when all of them are used: enough to close the comb that rounded values leave.
SMOOTHING = 1.5
# Quantiles of each class: the ends, so that a far tail does not squeeze the rest, and the median.
SHOWN = (0.005, 0.5, 0.995)
# In the SVG's own units; the page scales the plot to the width it has.
WIDTH, LEFT, RIGHT, TOP, BOTTOM, ROW = 360.0, 112.0, 350.0, 16.0, 22.0, 23.0
# How far the highest ridge reaches up, in rows: above 1 it overlaps the row before.
REACH = 1.35


def render_page(findings: dict[str, Any], profile: Profile) -> str:
    """Write the page, HTML with all styles and plots in it."""
    classes, columns = findings["target"]["classes"], findings["columns"]
    largest = sorted(classes, key=lambda name: -classes[name]["n_rows"])[:N_CLASSES]
    shown = {name: found for name, found in classes.items() if name in largest}
    places = [place for place, name in enumerate(classes) if name in shown]
    categories = [
        {"column": column, "value": value, "is_one_hot": described["is_one_hot"], **category}
        for column, described in findings["categories"].items()
        for value, category in described["categories"].items()
    ]
    numeric = {name: column for name, column in columns.items() if "median" in column}
    ranking = [name for name in findings["mutual_information"]["columns_nat"] if name in numeric]
    ridgelines = {}
    for name in (*ranking[:N_PLOTS], *findings["datetimes"]):
        edges, densities, medians = class_densities(profile.numbers(name), profile.codes, len(classes))
        is_time = name in findings["datetimes"]
        ridgelines[name] = draw_ridgelines(edges, densities[places], medians[places], is_time=is_time)
    template = page_environment().get_template("page.html.jinja")
    return template.render(
        **findings,
        classes=shown,
        numeric=numeric,
        colors=dict(zip(shown, class_colors(len(shown)), strict=True)),
        limits={"little_information": LITTLE_INFORMATION, "rare": RARE},
        meanings={name: column["meaning"] for name, column in columns.items()}
        | {item["value"]: item["name"] for item in categories if item["is_one_hot"]},
        anchors={name: f"column-{place}" for place, name in enumerate(columns)},
        analysed={name: column for name, column in columns.items() if "n_missing" in column},
        ridgelines=ridgelines,
        single_categories=sorted(categories, key=lambda item: -item["information_nat"])[:N_CATEGORIES],
    )


def class_densities(values: Floats, codes: Codes, n_classes: int) -> tuple[Floats, Floats, Floats]:
    """Compute smoothed histograms of a numeric column for each class, on bins that cover the bulk of each.

    Returns:
        Limits of the bins, shape (n_bins + 1,); share of each class's rows per unit, shape (n_classes,
        n_bins); medians, shape (n_classes,), NaN for a class without rows.
    """
    present = ~np.isnan(values)
    values, codes = values[present], codes[present]
    parts = [values[codes == code] for code in range(n_classes)]
    quantiles = np.array([np.quantile(part, SHOWN) if len(part) else [np.nan] * 3 for part in parts])
    low, high = np.nanmin(quantiles[:, 0]), np.nanmax(quantiles[:, 2])
    n_bins, width = N_BINS, (high - low) / N_BINS or 1.0
    if (values == np.rint(values)).all():
        # Each bin holds an integral number of values.
        low, high = np.floor(low), np.ceil(high)
        width = np.ceil((high - low + 1) / N_BINS)
        n_bins = int(np.ceil((high - low + 1) / width))
        low -= 0.5
    edges = low + np.arange(n_bins + 1) * width
    # In units of bins: NumPy refuses bins that are narrower than its floats can distinguish.
    counts = np.array([np.histogram((part - low) / width, n_bins, (0, n_bins))[0] for part in parts])
    n_rows = np.array([[max(len(part), 1)] for part in parts])
    densities = gaussian_filter1d(counts / (n_rows * width), SMOOTHING * n_bins / N_BINS, mode="reflect")
    return edges, densities, quantiles[:, 1]


def draw_ridgelines(
    edges: Floats, densities: Floats, medians: Floats, *, is_time: bool = False
) -> dict[str, Any]:
    """Turn what `class_densities` returns into outlines: the more concentrated a class, the higher its ridge.

    Of a class without rows the path is empty. Times are in days since 1970.
    """
    peaks = densities.max(axis=1, keepdims=True)
    # By the root of the peaks: one narrow class does not flatten the others, and stays the highest.
    shares = densities / np.sqrt((peaks.max() or 1.0) * np.where(peaks > 0, peaks, 1.0))
    baselines = TOP + ROW * np.arange(1, len(densities) + 1)
    heights = baselines[:, None] - REACH * ROW * np.pad(shares, ((0, 0), (1, 1)), mode="edge")

    def across(places: Any) -> Any:
        return np.interp(places, edges[[0, -1]], (LEFT, RIGHT)).round(1).tolist()

    xs = across(np.concatenate([edges[:1], (edges[:-1] + edges[1:]) / 2, edges[-1:]]))
    ridges = []
    for foot, median, ys in zip(baselines.tolist(), across(medians), heights, strict=True):
        points = " ".join(f"{x:g},{y:.1f}" for x, y in zip(xs, ys, strict=True))
        path = "" if math.isnan(median) else f"M{LEFT:g},{foot:g} L{points} L{RIGHT:g},{foot:g}Z"
        ridges.append({"baseline": foot, "median": median, "path": path})
    ticks = MaxNLocator(3 if is_time else 5).tick_values(edges[0], edges[-1])
    ticks = ticks[(edges[0] <= ticks) & (ticks <= edges[-1])]
    texts = map(moment if is_time else number, ticks)
    size = {"width": WIDTH, "height": float(baselines[-1]) + BOTTOM, "left": LEFT, "right": RIGHT}
    return {**size, "ticks": [*zip(across(ticks), texts, strict=True)], "ridges": ridges}

"""Lay out the plots of the page as SVG paths: class densities as ridgelines, rows over time as bars."""

import math
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from canopy.explore.profile import Codes
from canopy.explore.wording import number
from canopy.prepare.reductions import Floats

N_BINS = 96
# Smoothing in bins when all of them are used: enough to close the comb that rounded values leave.
SMOOTHING = 1.5
# Lowest and highest quantile of each class that is shown, so that a far tail does not squeeze the rest; the
# median is between them.
SHOWN = (0.005, 0.5, 0.995)

Densities = tuple[Floats, Floats, Floats]

# Of ridgelines, in the SVG's own units; the page scales the plot to the width it has.
WIDTH = 360.0
LEFT, RIGHT, TOP, BOTTOM = 112.0, 350.0, 16.0, 22.0
ROW = 23.0
# How far the highest ridge reaches up, in rows: above 1 it overlaps the row before.
REACH = 1.35
# Of bars, which are one wide.
HEIGHT = 100.0


def class_densities(values: Floats, codes: Codes, n_classes: int) -> Densities:
    """Compute smoothed histograms of a numeric column, which has values, for each class, on common bins.

    Returns:
        Limits of the bins in the column's unit, ascending, shape (n_bins + 1,); share of each class's rows
        per unit, shape (n_classes, n_bins), 0 for an empty class; medians, shape (n_classes,), NaN for an
        empty class. The bins cover the range in which the bulk of every class lies, those of a column of
        integers hold an integral number of values each; of rows outside the range none is shown.
    """
    present = ~np.isnan(values)
    values, codes = values[present], codes[present]
    parts = [values[codes == code] for code in range(n_classes)]
    quantiles = np.array([np.quantile(part, SHOWN) if len(part) else [np.nan] * 3 for part in parts])
    low, high = np.nanmin(quantiles[:, 0]), np.nanmax(quantiles[:, 2])
    n_bins, width = N_BINS, (high - low) / N_BINS or 1.0
    if (values == np.rint(values)).all():
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


def draw_ridgelines(edges: Floats, densities: Floats, medians: Floats) -> dict[str, Any]:
    """Turn what `class_densities` returns into outlines: the more concentrated a class, the higher its ridge.

    Returns:
        The plot's `width` and `height`, where its axis begins (`left`) and ends (`right`), position and text
        of its `ticks`, and its `ridges` from top to bottom: of each class the position of its `baseline`, of
        its `median` (NaN without rows) and its `path`, the `d` of an SVG path (empty without rows).
    """
    limits = edges[0], edges[-1]
    peaks = densities.max(axis=1, keepdims=True)
    # By the root of the peaks: one narrow class does not flatten the others, and stays the highest.
    shares = densities / np.sqrt((peaks.max() or 1.0) * np.where(peaks > 0, peaks, 1.0))
    baselines = TOP + ROW * np.arange(1, len(densities) + 1)
    heights = baselines[:, None] - REACH * ROW * np.pad(shares, ((0, 0), (1, 1)), mode="edge")
    xs = np.concatenate([edges[:1], (edges[:-1] + edges[1:]) / 2, edges[-1:]])

    def across(places: Floats) -> Floats:
        return np.interp(places, limits, (LEFT, RIGHT)).round(1)

    def outline(ys: Floats, foot: float) -> str:
        points = " ".join(f"{x:g},{y:.1f}" for x, y in zip(across(xs), ys, strict=True))
        return f"M{LEFT:g},{foot:g} L{points} L{RIGHT:g},{foot:g}Z"

    ticks = _ticks(*limits)
    return {
        "width": WIDTH,
        "height": float(baselines[-1]) + BOTTOM,
        "left": LEFT,
        "right": RIGHT,
        "ticks": [*zip(across(np.array(ticks)).tolist(), map(number, ticks), strict=True)],
        "ridges": [
            {"baseline": foot, "median": median, "path": "" if math.isnan(median) else outline(ys, foot)}
            for foot, median, ys in zip(baselines.tolist(), across(medians).tolist(), heights, strict=True)
        ],
    }


def _ticks(low: float, high: float) -> list[float]:
    """Choose at most six round values in a range."""
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= rough)
    return [place * step for place in range(math.ceil(low / step), math.floor(high / step) + 1)]


def draw_timeline(over_time: dict[str, Any], classes: list[str]) -> dict[str, Any]:
    """Turn rows over time into stacked bars, those of the classes not shown at the top.

    Returns:
        The `unit` that a bar covers, the number of bars (`n_bars`), the rows of the highest one (`peak`), the
        starts of the first, the middle and the last one (`ticks`), and by class the `d` of an SVG path: bars
        as high as they have `rows`, and bars that are equally high (`shares`).
    """
    starts = over_time["starts"]
    counts = {name: np.zeros(len(starts)) for name in (*classes, "")}
    for name, of_class in over_time["n_rows"].items():
        counts[name if name in counts else ""] += of_class
    total = np.sum([*counts.values()], axis=0)
    return {
        "unit": over_time["unit"],
        "n_bars": len(starts),
        "peak": int(total.max()),
        "ticks": [starts[index] for index in sorted({0, (len(starts) - 1) // 2, len(starts) - 1})],
        "rows": _stack(counts, total.max()),
        "shares": _stack(counts, np.maximum(total, 1)),
    }


def _stack(counts: dict[str, Floats], whole: Floats | np.float64) -> dict[str, str]:
    """Pile up bars as shares of a whole; classes without any have none."""
    tops = HEIGHT - np.cumsum([*counts.values()], axis=0) / whole * HEIGHT
    feet = [np.full(len(tops[0]), HEIGHT), *tops]
    paths = {
        name: "".join(
            f"M{place + 0.06:g} {top:.2f}h.88V{low:.2f}h-.88z"
            for place, (top, low) in enumerate(zip(*bars, strict=True))
            if low > top
        )
        for name, *bars in zip(counts, tops, feet, strict=False)
    }
    return {name: path for name, path in paths.items() if path}

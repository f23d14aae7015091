"""Lay out a plot of class densities as ridgelines, in the coordinates of an SVG."""

import math
from dataclasses import dataclass

import numpy as np

from canopy.explore.densities import ClassDensities
from canopy.explore.wording import number

# In the SVG's own units; the page scales the plot to the width it has.
WIDTH = 360.0
LEFT, RIGHT, TOP, BOTTOM = 112.0, 10.0, 16.0, 22.0
ROW = 23.0
# How far the highest ridge reaches up, in rows: above 1 it overlaps the row before.
REACH = 1.35


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """One class: its outline and where its baseline and median are.

    Attributes:
        path: Closed outline, as the `d` of an SVG path; empty for a class without rows.
        baseline: Vertical position of its foot.
        median: Horizontal position of its median, none for a class without rows.
    """

    path: str
    baseline: float
    median: float | None


@dataclass(frozen=True, kw_only=True)
class Ridgelines:
    """A plot of one numeric column: one ridge a class, in the order of the classes.

    Attributes:
        width: Of the plot.
        height: Of the plot.
        left: Where the axis begins.
        right: Where it ends.
        ridges: One for each class, from top to bottom.
        ticks: Horizontal position and text of each tick.
    """

    width: float
    height: float
    left: float
    right: float
    ridges: list[Ridge]
    ticks: list[tuple[float, str]]


def draw_ridgelines(of_column: ClassDensities) -> Ridgelines:
    """Turn densities into outlines: the more concentrated a class, the higher its ridge.

    Args:
        of_column: Densities of one column.
    """
    n_classes = len(of_column.densities)
    edges = of_column.edges
    low, high = float(edges[0]), float(edges[-1])
    middles = (edges[:-1] + edges[1:]) / 2
    right = WIDTH - RIGHT

    def across(value: float) -> float:
        return round(LEFT + (value - low) / (high - low) * (right - LEFT), 1)

    peaks = of_column.densities.max(axis=1)
    # By the root of the peaks: one narrow class does not flatten the others, and stays the highest.
    scales = np.sqrt(peaks.max() or 1.0) * np.sqrt(np.where(peaks > 0, peaks, 1.0))
    ridges = []
    for place, (densities, median) in enumerate(
        zip(of_column.densities / scales[:, None], of_column.medians, strict=True)
    ):
        foot = TOP + (place + 1) * ROW
        if np.isnan(median):
            ridges.append(Ridge(path="", baseline=foot, median=None))
            continue
        heights = foot - densities * REACH * ROW
        xs = [low, *middles, high]
        ys = [heights[0], *heights, heights[-1]]
        points = " ".join(f"{across(x):g},{y:.1f}" for x, y in zip(xs, ys, strict=True))
        path = f"M{across(low):g},{foot:g} L{points} L{across(high):g},{foot:g}Z"
        ridges.append(Ridge(path=path, baseline=foot, median=across(median)))
    return Ridgelines(
        width=WIDTH,
        height=TOP + n_classes * ROW + BOTTOM,
        left=LEFT,
        right=right,
        ridges=ridges,
        ticks=[(across(tick), number(tick)) for tick in _ticks(low, high)],
    )


def _ticks(low: float, high: float) -> list[float]:
    """Choose at most six round values in a range."""
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= rough)
    return [place * step for place in range(math.ceil(low / step), math.floor(high / step) + 1)]

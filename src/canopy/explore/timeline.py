"""Lay out rows over time as stacked bars, in the coordinates of an SVG that is one wide per bar."""

from dataclasses import dataclass
from typing import Any

import numpy as np

HEIGHT = 100.0


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """A plot of one datetime column.

    Attributes:
        n_bars: Number of bars.
        unit: What a bar covers: a week, say.
        peak: Rows of the highest bar.
        rows: Class to its part of the bars, as the `d` of an SVG path: bars as high as they have rows.
        shares: The same, all bars equally high.
        ticks: Starts of the first, the middle and the last bar.
    """

    n_bars: int
    unit: str
    peak: int
    rows: dict[str, str]
    shares: dict[str, str]
    ticks: list[str]


def draw_timeline(over_time: dict[str, Any], classes: list[str]) -> Timeline:
    """Turn rows over time into bars, those of the first class at the bottom.

    Args:
        over_time: What `describe_dates` returns under this name.
        classes: The classes to show; the others have the name "" together.
    """
    n_bars = len(over_time["starts"])
    counts = {name: np.zeros(n_bars) for name in (*classes, "")}
    for name, of_class in over_time["n_rows"].items():
        counts[name if name in counts else ""] += of_class
    total = np.sum([*counts.values()], axis=0)
    starts = over_time["starts"]
    return Timeline(
        n_bars=n_bars,
        unit=over_time["unit"],
        peak=int(total.max()),
        rows=_stack({name: found / total.max() for name, found in counts.items()}),
        shares=_stack({name: found / np.maximum(total, 1) for name, found in counts.items()}),
        ticks=[starts[index] for index in sorted({0, (n_bars - 1) // 2, n_bars - 1})],
    )


def _stack(heights: dict[str, Any]) -> dict[str, str]:
    foot = np.full(len(next(iter(heights.values()))), HEIGHT)
    paths = {}
    for name, shares in heights.items():
        tops = foot - shares * HEIGHT
        bars = [
            f"M{place + 0.06:g} {top:.2f}h.88V{low:.2f}h-.88z"
            for place, (top, low) in enumerate(zip(tops, foot, strict=True))
            if low - top > 0
        ]
        if bars:
            paths[name] = "".join(bars)
        foot = tops
    return paths

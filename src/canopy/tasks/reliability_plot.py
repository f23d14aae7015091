"""The plot of a model's calibration."""

import numpy as np
from matplotlib.figure import Figure

from canopy.tasks.calibration import Calibration


def draw_reliability(calibration: Calibration, *, title: str) -> Figure:
    """Draw how often predictions are right over how confident they are, and how many are how confident."""
    figure = Figure(figsize=(6.4, 7.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", label="as it should be")
    for found, name, color in (
        (calibration.before, "as it is", "#0072B2"),
        (calibration.after, f"with temperature {calibration.temperature:.3f}", "#D55E00"),
    ):
        label = f"{name}: ECE {found.ece:.4f}, NLL {found.nll:.4f}"
        full = found.counts > 0
        upper.plot(found.confidence[full], found.accuracy[full], color=color, marker="o", label=label)
        lower.stairs(found.counts, np.linspace(0, 1, len(found.counts) + 1), color=color)
    upper.set(ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    upper.legend(loc="upper left", frameon=False)
    lower.set(xlabel="probability of the predicted class", ylabel="rows", yscale="log")
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"Calibration: {title}")
    return figure

"""The plots of a confusion matrix and of a calibration."""

import numpy as np
from matplotlib.figure import Figure

from canopy.tasks.calibration import Calibration
from canopy.tasks.scores import Scores


def draw_confusion(scores: Scores, *, title: str) -> Figure:
    """Draw a confusion matrix: in each cell the rows, and their share of the true class."""
    n_classes = len(scores.class_names)
    side = max(4.0, 0.75 * n_classes)
    figure = Figure(figsize=(side + 2, side + 1.2), layout="constrained")
    axes = figure.subplots()
    # In counts, the small classes would all look empty.
    shares = scores.confusion / np.maximum(scores.support, 1)[:, None]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        text = f"{scores.confusion[row, column]:,}\n{share:.1%}" if share else "0"
        color, weight = "white" if share > 0.5 else "black", "bold" if row == column else "normal"
        axes.text(column, row, text, ha="center", va="center", color=color, weight=weight, fontsize=8)
    # A name with two dollar signs is no formula.
    axes.set_xticks(range(n_classes), scores.class_names, rotation=40, ha="right", parse_math=False)
    axes.set_yticks(range(n_classes), scores.class_names, parse_math=False)
    axes.set(xlabel="Predicted class", ylabel="True class")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    figure.suptitle(f"{title}: accuracy {scores.accuracy:.4f}, macro-F1 {scores.macro_f1:.4f}")
    return figure


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

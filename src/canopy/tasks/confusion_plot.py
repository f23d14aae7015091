"""The plot of a confusion matrix."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from canopy.tasks.scores import Scores


def draw_confusion(scores: Scores, *, title: str) -> Figure:
    """Draw a confusion matrix twice: as counts, and each row as shares of its true class."""
    n_classes = len(scores.class_names)
    side = max(4.0, 0.75 * n_classes)
    figure = Figure(figsize=(2 * side + 2.5, side + 1.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    shares = scores.confusion / np.maximum(scores.support, 1)[:, None]
    # Both are coloured by share: in counts, the small classes would all look empty.
    _draw_matrix(left, shares, [[f"{n:,}" for n in row] for row in scores.confusion])
    _draw_matrix(right, shares, [[_percent(share) for share in row] for row in shares])
    left.set_title("Rows")
    right.set_title("Share of the true class")
    left.set_ylabel("True class")
    for axes in (left, right):
        axes.set_xlabel("Predicted class")
        # A name with two dollar signs is no formula.
        axes.set_xticks(range(n_classes), scores.class_names, rotation=40, ha="right", parse_math=False)
        axes.set_yticks(range(n_classes), scores.class_names, parse_math=False)
    figure.suptitle(f"{title}: accuracy {scores.accuracy:.4f}, macro-F1 {scores.macro_f1:.4f}")
    return figure


def _draw_matrix(axes: Axes, shares: NDArray[np.float64], texts: list[list[str]]) -> None:
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            colour = "white" if shares[row, column] > 0.5 else "black"
            weight = "bold" if row == column else "normal"
            axes.text(column, row, text, ha="center", va="center", color=colour, weight=weight, fontsize=8)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _percent(share: float) -> str:
    if share == 0:
        return "0"
    return f"{share:.1%}" if share >= 0.0005 else "<0.1%"

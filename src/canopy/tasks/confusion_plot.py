"""The plot of a confusion matrix."""

import numpy as np
from matplotlib.figure import Figure

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

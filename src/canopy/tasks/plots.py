"""The plots of predictions: confusion matrix, calibration, curves of thresholds, residuals, coverage."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from canopy.names import shorten
from canopy.tasks.calibration import Calibration
from canopy.tasks.decision import Goal, scores_at
from canopy.tasks.scores import Scores

# Of more classes, the curves of those with most rows.
N_CURVES = 10
# Classes of a confusion matrix with numbers in its cells, and names along its sides.
N_NUMBERED, N_NAMED = 40, 120


def draw_confusion(scores: Scores, *, title: str) -> Figure:
    """Draw a confusion matrix: in each cell the rows, and their share of the true class; of many, colors.

    The share is by weight where rows have weights.
    """
    n_classes = len(scores.class_names)
    is_numbered = n_classes <= N_NUMBERED
    side = max(4.0, 0.75 * n_classes) if is_numbered else 14.0
    figure = Figure(figsize=(side + 2, side + 1.2), layout="constrained")
    axes = figure.subplots()
    # In counts, the small classes would all look empty.
    shares = scores.shares
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares) if is_numbered else ():
        text = f"{scores.confusion[row, column]:,}\n{share:.1%}" if share else "0"
        color, weight = "white" if share > 0.5 else "black", "bold" if row == column else "normal"
        axes.text(column, row, text, ha="center", va="center", color=color, weight=weight, fontsize=8)
    named, size, angle, end = range(0, n_classes, -(-n_classes // N_NAMED)), None, 40, "right"
    names = [scores.class_names[place] for place in named]
    if not is_numbered:
        figure.colorbar(image, label="Share of the true class", shrink=0.5)
        names, size, angle, end = [shorten(name, length=30) for name in names], 6, 90, "center"
    # A name with two dollar signs is no formula.
    axes.set_xticks(named, names, fontsize=size, rotation=angle, ha=end, parse_math=False)
    axes.set_yticks(named, names, fontsize=size, parse_math=False)
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


def draw_curves(
    probabilities: NDArray[Any], labels: NDArray[np.int64], class_names: Sequence[str], *, title: str
) -> Figure:
    """Draw ROC, precision-recall and gain curves: of the second of two classes, else each against the rest.

    `probabilities` have the shape (n_rows, K). Of many classes those with most rows are drawn.
    """
    # Here, since training does without it.
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    figure = Figure(figsize=(15, 5.4), layout="constrained")
    panels = roc, precision, gain = figure.subplots(1, 3)
    n_rows = np.bincount(labels, minlength=len(class_names))
    shown = [1] if len(class_names) == 2 else np.argsort(-n_rows, kind="stable")[:N_CURVES].tolist()
    for code in [code for code in shown if 0 < n_rows[code] < len(labels)]:
        true, scores = labels == code, probabilities[:, code]
        auc, average = roc_auc_score(true, scores), average_precision_score(true, scores)
        false_rates, recalls, _ = roc_curve(true, scores)
        roc.plot(false_rates, recalls, label=f"{class_names[code]}: AUC {auc:.4f}")
        precisions, found, _ = precision_recall_curve(true, scores, drop_intermediate=True)
        precision.plot(found, precisions, label=f"{class_names[code]}: average precision {average:.4f}")
        share = true.mean()
        gain.plot(
            false_rates * (1 - share) + recalls * share,
            recalls,
            label=f"{class_names[code]}: {share:.1%} of rows",
        )
    roc.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    gain.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    roc.set(title="ROC", xlabel="false positive rate", ylabel="true positive rate (recall)")
    precision.set(title="Precision and recall", xlabel="recall", ylabel="precision")
    gain.set(
        title="Gain", xlabel="share of the rows, the likeliest first", ylabel="share of the class (recall)"
    )
    for axes in panels:
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if legend := axes.legend(
            loc="lower left" if axes is precision else "lower right", frameon=False, fontsize=8
        ):
            for text in legend.get_texts():
                text.set_parse_math(False)
    figure.suptitle(title, parse_math=False)
    return figure


def draw_decision(
    thresholds: NDArray[Any],
    counts: NDArray[Any],
    *,
    goal: Goal,
    threshold: float,
    scores: Mapping[str, float],
) -> Figure:
    """Draw scores over thresholds, ROC and precision-recall curve, and the place of the one that is chosen.

    Thresholds, (T,), and counts, (4, T), are those of `count_at_thresholds`.
    """
    found = scores_at(counts, goal)
    # Where no row is predicted positive, there is no precision.
    found["precision"][0] = np.nan
    figure = Figure(figsize=(15, 4.8), layout="constrained")
    over, roc, precision = panels = figure.subplots(1, 3)
    for name in [name for name in ("precision", "recall", "f_beta") if name in found]:
        over.plot(thresholds, found[name], label=name.replace("_", " "))
    if "cost" in found:
        # In its own unit.
        cost = over.twinx()
        cost.plot(thresholds, found["cost"], color="C3")
        cost.set_ylabel("mean cost of a row", color="C3")
    over.axvline(threshold, color="0.4", linestyle="--", label=f"chosen: {threshold:.4g}")
    over.set(title="Scores over the threshold", xlabel="threshold")
    roc.set(title="ROC", xlabel="false positive rate", ylabel="recall")
    precision.set(title="Precision and recall", xlabel="recall", ylabel="precision")
    for axes in (roc, precision):
        x, y = (label.replace(" ", "_") for label in (axes.get_xlabel(), axes.get_ylabel()))
        axes.plot(found[x], found[y])
        axes.plot(scores[x], scores[y], "o", color="0.2", label=f"chosen: {scores[x]:.4f}, {scores[y]:.4f}")
    for axes in panels:
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def draw_residuals(predictions: NDArray[Any], values: NDArray[Any], *, title: str) -> Figure:
    """Draw true over predicted numbers, (n_rows,), and their differences, over the predicted and alone."""
    figure = Figure(figsize=(15, 5), layout="constrained")
    together, spread, alone = figure.subplots(1, 3)
    residuals = values - predictions
    ends = [min(values.min(), predictions.min()), max(values.max(), predictions.max())]
    line = {"color": "0.4", "linewidth": 1, "linestyle": "--"}
    cells = {"gridsize": 60, "bins": "log", "mincnt": 1, "cmap": "viridis", "linewidths": 0}
    together.hexbin(predictions, values, **cells)
    together.plot(ends, ends, **line)
    together.set(title="True over predicted", xlabel="predicted", ylabel="true")
    spread.hexbin(predictions, residuals, **cells)
    spread.axhline(0, **line)
    spread.set(title="Residuals", xlabel="predicted", ylabel="true - predicted")
    # Of long tails, the ends are counted in the outermost bars.
    limits = np.quantile(residuals, [0.005, 0.995])
    width = max(np.ptp(limits), 1e-6 * np.abs(limits).max(), np.finfo(np.float32).tiny)
    edges = np.linspace(limits[0] - 1e-3 * width, limits[0] + 1.001 * width, 61)
    alone.hist(np.clip(residuals, *limits), bins=edges, color="#0072B2")
    alone.axvline(0, **line)
    alone.set(title="Distribution of residuals", xlabel="true - predicted", ylabel="rows")
    for axes in (together, spread, alone):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, parse_math=False)
    return figure


def draw_coverage(found: Any, *, level: float, title: str) -> Figure:
    """Draw the share of rows that prediction intervals cover, by groups of the prediction."""
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.axhline(level, color="0.6", linewidth=1, linestyle="--", label=f"as it should be: {level:.0%}")
    axes.plot(
        found.places,
        found.covered,
        color="#0072B2",
        marker="o",
        label=f"covered: {found.described['coverage']:.1%}",
    )
    axes.set(xlabel="prediction (mean of a tenth of the rows)", ylabel="share of the rows", ylim=(0, 1.02))
    axes.legend(loc="lower left", frameon=False)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"Prediction intervals: {title}", parse_math=False)
    return figure

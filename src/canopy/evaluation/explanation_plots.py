"""The plots of an explanation: importance of features, partial dependence."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from canopy.explore.templates import OKABE_ITO
from canopy.tasks.task import Task

# Features at most.
N_FEATURES = 30
STYLES = ("-", "--", ":", "-.")


def draw_importance(importance: dict[str, Any], task: Task) -> Figure:
    """Draw the increase of the first loss of the task by feature, the largest on top, with intervals."""
    found = [*importance["features"].items()][:N_FEATURES]
    figure = Figure(figsize=(8, 1.4 + 0.3 * len(found)), layout="constrained")
    axes = figure.subplots()
    (score, key), _ = task.mean_scores
    means = [item[key]["mean"] for _, item in found]
    ends = [item[key]["interval"] for _, item in found]
    errors = [[m - low for m, (low, _) in zip(means, ends, strict=True)]]
    errors.append([high - m for m, (_, high) in zip(means, ends, strict=True)])
    axes.barh(range(len(found)), means, xerr=errors, color=OKABE_ITO[0], error_kw={"ecolor": "0.3"})
    # A name with two dollar signs is no formula.
    names = [name if len(name) <= 40 else f"{name[:39]}…" for name, _ in found]
    axes.set_yticks(range(len(found)), names, parse_math=False)
    axes.invert_yaxis()
    what = {"log_loss": "log loss (nat)", "mae": "mean absolute error"}[score]
    axes.set(xlabel=f"increase of the {what} when the feature is permuted")
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"Permutation importance: val, {importance['n_rows']:,} rows")
    return figure


def draw_dependence(explanation: dict[str, Any]) -> Figure:
    """Draw the partial dependence of the most important features, with curves of single rows."""
    found = explanation["dependence"]["features"]
    n_columns = min(3, len(found))
    n_lines = -(-len(found) // n_columns)
    figure = Figure(figsize=(4.6 * n_columns, 3.4 * n_lines), layout="constrained")
    every = figure.subplots(n_lines, n_columns, squeeze=False).ravel()
    for axes, (name, item) in zip(every, found.items(), strict=False):
        texts = ["missing" if value is None else str(value) for value in item["values"]]
        is_number = explanation["features"][name]["kind"] == "numeric" and None not in item["values"]
        places = item["values"] if is_number else [*range(len(texts))]
        rows = np.transpose(explanation["dependence"]["curves"][name]["rows"])
        axes.plot(places, rows, color="0.6", linewidth=0.4, alpha=0.6)
        for class_name, curve in item["classes"].items():
            more, place = divmod(explanation["classes"].index(class_name), len(OKABE_ITO))
            line = {"color": OKABE_ITO[place], "linestyle": STYLES[more % len(STYLES)]}
            axes.plot(places, curve["mean"], **line, marker=".", label=class_name.replace("$", r"\$"))
        if not is_number:
            shown = [text if len(text) <= 18 else f"{text[:17]}…" for text in texts]
            axes.set_xticks(places, shown, rotation=40, ha="right", fontsize=7, parse_math=False)
        if explanation["task"] != "regression":
            axes.set(ylim=(-0.02, 1.02))
        unit = explanation["features"][name]["unit"]
        axes.set_xlabel(f"{name}, {unit}" if unit else name, parse_math=False)
        axes.legend(fontsize=7, framealpha=0.7, edgecolor="none")
        axes.spines[["top", "right"]].set_visible(False)
    for axes in every[len(found) :]:
        axes.axis("off")
    figure.suptitle(f"Partial dependence of predictions: {explanation['dependence']['n_rows']:,} rows")
    return figure

"""Two cross-validations side by side: whether one is better over training sets, and on the same rows."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from canopy.compare.comparison import same_labels, write_differences
from canopy.compare.significance import (
    CONFIDENCE,
    Floats,
    Interval,
    NumberSignificance,
    Significance,
    compare_numbers,
    compare_predictions,
)
from canopy.compare.spread import is_number
from canopy.files import read_json
from canopy.metrics import LOWER_IS_BETTER
from canopy.runs.differences import find_differences
from canopy.runs.find import CROSS_VALIDATION, OUT_OF_FOLD
from canopy.runs.run import Run
from canopy.text_tables import decimals_for_error, render

HINT = "run the cross-validation again"


def compare_folds(a: Path, b: Path) -> dict[str, Any]:
    """Compare two cross-validations with the same folds, as `compare.py --json` prints."""
    results_a, results_b = (read_json(path / CROSS_VALIDATION, hint=HINT) for path in (a, b))
    columns = ["fold", "row", "label", "predicted"]
    rows_a, rows_b = (pd.read_parquet(path / OUT_OF_FOLD, columns=columns) for path in (a, b))
    runs = [Run(path / results["folds"][0]["run"]) for path, results in ((a, results_a), (b, results_b))]
    for name in ("row", "fold", "label"):
        if (
            not same_labels(rows_a[name], rows_b[name])
            or runs[0].schema.class_names != runs[1].schema.class_names
        ):
            raise ValueError(
                "Two cross-validations must test the same rows in the same folds to be compared; got another "
                f"{name} in {a} and {b}: run both with one table, split and seed of params.yaml"
            )
    counts = [fold["n_rows"] for fold in results_a["folds"]]
    ratio = float(np.mean([found["test"] / (found["train_before_cap"] + found["val"]) for found in counts]))
    metrics = {}
    for name, first in results_a["metrics"].items():
        values = [first["folds"], results_b["metrics"].get(name, {}).get("folds", [None])]
        # Of some, neither more nor less is better.
        left_out = name.startswith("per_class.") or name in ("calibrated.coverage", "decision.threshold")
        if left_out or not all(is_number(value) for found in values for value in found):
            continue
        found, p = corrected_t_test(np.subtract(*reversed(values)), ratio=ratio)
        better = found.better
        if better and name.rpartition(".")[2] in LOWER_IS_BETTER:
            better = "A" if better == "B" else "B"
        means = {"a": float(np.mean(values[0])), "b": float(np.mean(values[1]))}
        metrics[name] = {**means, **asdict(found), "p": p, "better": better or None}
    predicted = [column.to_numpy() for column in (rows_a["label"], rows_a["predicted"], rows_b["predicted"])]
    significance: Significance | NumberSignificance = (
        compare_predictions(*predicted) if runs[0].schema.class_names else compare_numbers(*predicted)
    )
    differences = {key: [item._asdict() for item in items] for key, items in find_differences(*runs).items()}
    return {
        "a": str(a),
        "b": str(b),
        "n_folds": len(counts),
        "differences": differences,
        "metrics": metrics,
        "significance": asdict(significance),
        "verdict": significance.verdict(),
    }


def corrected_t_test(differences: Floats, *, ratio: float) -> tuple[Interval, float]:
    """Give the mean difference over folds with its interval, and the p-value of there being none.

    Training sets of folds overlap, so that the variance of the mean is larger than that of independent
    differences: by the `ratio` of test to training rows, next to one over the number of folds.

    Source: Nadeau and Bengio, Inference for the generalization error, Machine Learning 52, 2003.
    """
    n = len(differences)
    mean = float(np.mean(differences))
    error = math.sqrt(1 / n + ratio) * float(np.std(differences, ddof=1))
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * error
    p = 2 * float(stdtr(n - 1, -abs(mean) / error)) if error else float(mean == 0)
    return Interval(difference=mean, low=mean - half, high=mean + half), p


def write_folds_report(comparison: dict[str, Any]) -> str:
    """Write what `compare_folds` found for a terminal."""
    rows = []
    for name, found in comparison["metrics"].items():
        half = (found["high"] - found["low"]) / 2
        n = decimals_for_error(max(1.0, half), half)
        difference, low, high = (f"{found[key]:+.{n}f}" for key in ("difference", "low", "high"))
        means = [f"{found[key]:.{n}f}" for key in ("a", "b")]
        rows.append([name, *means, difference, f"{low} to {high}", f"{found['p']:.2g}", found["better"]])
    table = render(["metric", "A", "B", "B - A", "95 % interval", "p", "better"], rows, indent=2)
    n_folds, n_rows = comparison["n_folds"], comparison["significance"]["n_rows"]
    return "\n\n".join(
        [
            f"A  {comparison['a']}\nB  {comparison['b']}",
            *write_differences(comparison["differences"]),
            f"Means over {n_folds} folds; corrected resampled t-test\n{table}",
            f"On all {n_rows:,} rows, by the run that has not seen them:\n{comparison['verdict']}",
        ]
    )

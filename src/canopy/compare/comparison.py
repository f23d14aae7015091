"""Two runs side by side: what differs, their scores, and whether one is better."""

import re
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from canopy.compare.significance import compare_numbers, compare_predictions
from canopy.compare.spread import is_number
from canopy.quoting import write_command
from canopy.runs.differences import find_differences
from canopy.runs.keys import flatten
from canopy.runs.run import METRICS, Run
from canopy.text_tables import decimals, format_value, render

PREDICTIONS = "evaluation/predictions_{split}.parquet"
TRAINING = ("best.score", "training.epochs", "training.train_seconds", "training.n_parameters")
PER_CLASS = (".recall", ".f1")


def compare(a: Run, b: Run, *, split: str) -> dict[str, Any]:
    """Compare two evaluated runs on the rows of a split, `test` or `val`, as `compare.py --json` prints."""
    rows_a, rows_b = (load_predictions(run, split=split) for run in (a, b))
    classes_a, classes_b = ([*run.metrics[split].get("per_class", ())] for run in (a, b))
    if classes_a != classes_b or not same_labels(rows_a["label"], rows_b["label"]):
        raise ValueError(
            "Two runs must be evaluated on the same rows and classes to be compared; found others in "
            f"{a.path} and {b.path}: train and evaluate both on one version of the data"
        )
    columns = [column.to_numpy() for column in (rows_a["label"], rows_a["predicted"], rows_b["predicted"])]
    found = compare_predictions(*columns) if classes_a else compare_numbers(*columns)
    first, second = (
        flatten(run.metrics[split] | {key: run.value(key) for key in TRAINING}) for run in (a, b)
    )
    metrics = {}
    for key, x in first.items():
        is_shown = key in TRAINING or key.endswith(PER_CLASS) or ("." not in key and key != "n_rows")
        y = second.get(key)
        if is_shown and (is_number(x) or is_number(y)):
            metrics[key] = {"a": x, "b": y, "change": y - x if is_number(x) and is_number(y) else None}
    differences = {key: [item._asdict() for item in items] for key, items in find_differences(a, b).items()}
    return {
        "a": str(a.path),
        "b": str(b.path),
        "split": split,
        "differences": differences,
        "metrics": metrics,
        "significance": asdict(found),
        "rows": found.rows(),
        "verdict": found.verdict(),
    }


def same_labels(a: pd.Series, b: pd.Series) -> bool:
    """Whether rows have the same labels; numbers come from single precision."""
    if len(a) != len(b) or a.dtype.kind != "f":
        return bool(a.equals(b))
    return bool(np.allclose(a, b, rtol=1e-5, atol=1e-6 * float(np.abs(a).max() or 1)))


def load_predictions(run: Run, *, split: str) -> pd.DataFrame:
    """Read the label of each row and what a run predicts for it."""
    # `known` reads all that is compared, so that a comparison never leaves out what it cannot read.
    known = run.known
    if run.problems:
        raise ValueError(f"A run to compare must be complete; found {run.problems[0]}")
    path = run.path / PREDICTIONS.format(split=split)
    if not path.is_file() or not any(key == f"{split}.n_rows" for key in known):
        raise FileNotFoundError(
            f"A run to compare must be evaluated on its {split} rows; found no {path.name} and {METRICS} "
            f'with them: run "{write_command("evaluate", run=run.path)}" first'
        )
    try:
        found = pd.read_parquet(path, columns=["label", "predicted"])
        if found.isna().any(axis=None):
            raise ValueError("missing values")
        return found
    except ValueError as error:
        raise ValueError(f"{path} cannot be used; found {error}: evaluate the run again") from error


def write_report(a: Run, b: Run, comparison: dict[str, Any]) -> str:
    """Write what `compare` found for a terminal: differences, scores side by side and, last, the verdict."""
    found, differences = comparison["significance"], comparison["differences"]
    runs = [[f"{x}  {run.name}", run.status, run.started, run.overrides] for x, run in (("A", a), ("B", b))]
    parts = [render(["run", "status", "started (UTC)", "overrides"], runs), *write_differences(differences)]
    rows = []
    for name, row in comparison["metrics"].items():
        pair = row["a"], row["b"]
        n = max((decimals(abs(value)) for value in pair if isinstance(value, float)), default=0)
        cells = [f"{value:.{n}f}" if is_number(value) else format_value(value) for value in pair]
        rows.append([name, *cells, None if row["change"] is None else f"{row['change'] + 0.0:+.{n}f}"])
    parts += [
        f"Scores on {found['n_rows']:,} {comparison['split']} rows\n"
        f"{render(['metric', 'A', 'B', 'B - A'], rows, indent=2)}",
        comparison["rows"],
        comparison["verdict"],
    ]
    return "\n\n".join(parts)


def write_differences(differences: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Write a table of each group of `find_differences` that has some, then the names of the others."""
    parts = []
    for group, items in differences.items():
        if items:
            rows = [[item["key"], _shorten(item["a"]), _shorten(item["b"])] for item in items]
            parts.append(f"Different {group}\n{render(['key', 'A', 'B'], rows, indent=2)}")
    if same := [group for group, items in differences.items() if not items]:
        parts.append(f"The same {', '.join(same)}")
    return parts


def _shorten(value: Any) -> str:
    """Leave of a hash as many digits as distinguish two."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{28,52}\b", r"\1", format_value(value))

"""Two runs side by side: what differs, their scores, and whether one is better."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from canopy.compare.significance import compare_predictions
from canopy.compare.spread import is_number
from canopy.quoting import write_command
from canopy.runs.differences import find_differences
from canopy.runs.run import METRICS, Run
from canopy.text_tables import decimals, format_value, render, signed

PREDICTIONS = "evaluation/predictions_{split}.parquet"
TRAINING = ("best.score", "training.epochs", "training.train_seconds", "training.n_parameters")
PER_CLASS = ("recall", "f1")

_COLUMNS = ["label", "predicted"]
# Of a hash as many digits as distinguish two.
_HASH_LENGTHS, _N_HASH_DIGITS = (40, 64), 12


def compare(a: Run, b: Run, *, split: str) -> dict[str, Any]:
    """Compare two evaluated runs on the rows of a split, `test` or `val`.

    Returns:
        Everything in full, as `compare.py --json` prints it: in what the runs differ, by group; their scores
        and what training took; recall and F1 of each class; how sure the difference is, and the verdict.

    Raises:
        FileNotFoundError: If one has not been evaluated on the split.
        ValueError: If they were evaluated on other rows, or a file is damaged.
    """
    rows = [load_predictions(run, split=split) for run in (a, b)]
    check_same_rows((a, b), rows, split=split)
    first, second = (run.metrics[split] for run in (a, b))
    overall = {key: (value, second.get(key)) for key, value in first.items() if is_number(value)}
    overall |= {key: (a.value(key), b.value(key)) for key in TRAINING}
    per_class = {name: {"support": scores["support"]} for name, scores in first["per_class"].items()}
    for (name, scores), key in itertools.product(per_class.items(), PER_CLASS):
        x, y = first["per_class"][name][key], second["per_class"][name][key]
        scores |= {f"{key}_a": x, f"{key}_b": y, f"{key}_change": y - x}
    found = compare_predictions(
        rows[0]["label"].to_numpy(), *(frame["predicted"].to_numpy() for frame in rows)
    )
    return {
        "a": str(a.path),
        "b": str(b.path),
        "split": split,
        "differences": {
            group: [difference._asdict() for difference in differences]
            for group, differences in find_differences(a, b).items()
        },
        "metrics": {
            key: {"a": x, "b": y, "change": y - x if is_number(x) and is_number(y) else None}
            for key, (x, y) in overall.items()
            if key != "n_rows" and (x, y) != (None, None)
        },
        "per_class": per_class,
        "significance": asdict(found),
        "verdict": found.verdict(split=split),
    }


def load_predictions(run: Run, *, split: str) -> pd.DataFrame:
    """Read the class of each row and the one that a run predicts for it.

    Raises:
        FileNotFoundError: If the run has not been evaluated on the split.
        ValueError: If a file of the run is damaged, or the predictions are not those of the scores.
    """
    path = run.path / PREDICTIONS.format(split=split)
    again = f'run "{write_command("evaluate", run=run.path)}"'
    # All that is compared is read, so that a comparison never leaves out what it cannot read.
    if run.known and run.problems:
        raise ValueError(
            f"A run to compare must be complete; found {run.problems[0]}: restore the file or choose "
            "another run"
        )
    scores = run.metrics.get(split)
    if scores is None or not path.is_file():
        missing = path if scores else f"{split} in {run.path / METRICS}"
        raise FileNotFoundError(
            f"A run to compare must be evaluated on its {split} rows; found no {missing}: {again} first"
        )
    try:
        rows = pd.read_parquet(path, columns=_COLUMNS).astype("int64")
        n_rows, accuracy = scores["n_rows"], scores["accuracy"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} and {METRICS} must hold {', '.join(_COLUMNS)} and the scores; found {error}: {again}"
        ) from error
    found = float((rows["label"] == rows["predicted"]).mean()) if len(rows) else 0.0
    # Both are computed from counts, so that any difference means other predictions.
    if len(rows) != n_rows or abs(found - accuracy) > 1e-6:
        raise ValueError(
            f"{path} must hold the predictions of {METRICS}, {n_rows} rows with accuracy "
            f"{accuracy:.6f}; found {len(rows)} rows with accuracy {found:.6f}: {again}"
        )
    return rows


def check_same_rows(runs: Sequence[Run], rows: Sequence[pd.DataFrame], *, split: str) -> None:
    """Refuse to compare runs that were evaluated on other rows or other classes.

    Raises:
        ValueError: If they were.
    """
    classes = [", ".join(run.metrics[split]["per_class"]) for run in runs]
    a, b = (frame["label"] for frame in rows)
    if classes[0] != classes[1]:
        difference = f"the classes {classes[0]} and {classes[1]}"
    elif len(a) != len(b):
        difference = f"{len(a):,} and {len(b):,} rows"
    elif n_others := int((a != b).sum()):
        difference = f"{n_others:,} of {len(a):,} rows with another label"
    else:
        return
    raise ValueError(
        f"Two runs must be evaluated on the same rows to be compared; found {difference} in "
        f"{runs[0].path} and {runs[1].path}: train and evaluate both on one version of the data"
    )


def write_report(a: Run, b: Run, comparison: dict[str, Any]) -> str:
    """Write what `compare` found for a terminal: differences, scores side by side and, last, the verdict."""
    found, differences = comparison["significance"], comparison["differences"]
    runs = [[f"{x}  {run.name}", run.status, run.started, run.overrides] for x, run in (("A", a), ("B", b))]
    parts = [render(["run", "status", "started (UTC)", "overrides"], runs)]
    for group, items in differences.items():
        if items:
            rows = [[item["key"], _shorten(item["a"]), _shorten(item["b"])] for item in items]
            parts.append(f"Different {group}\n{render(['key', 'A', 'B'], rows, indent=2)}")
    if same := [group for group, items in differences.items() if not items]:
        parts.append(f"The same {', '.join(same)}")
    parts += [
        f"Scores on {found['n_rows']:,} {comparison['split']} rows\n{_metrics(comparison['metrics'])}",
        f"Classes\n{_classes(comparison['per_class'])}",
        f"Another class predicted in {found['n_rows'] - found['n_same']:,} rows; "
        f"right in A alone {found['n_only_a']:,}, in B alone {found['n_only_b']:,}",
        comparison["verdict"],
    ]
    return "\n\n".join(parts)


def _metrics(metrics: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name, row in metrics.items():
        pair = row["a"], row["b"]
        n = max((decimals(abs(value)) for value in pair if isinstance(value, float)), default=0)
        cells = [f"{value:.{n}f}" if is_number(value) else format_value(value) for value in pair]
        rows.append([name, *cells, None if row["change"] is None else signed(row["change"], n_decimals=n)])
    return render(["metric", "A", "B", "B - A"], rows, indent=2)


def _classes(per_class: dict[str, dict[str, float]]) -> str:
    rows = []
    for name, row in per_class.items():
        cells = [name, f"{row['support']:,}"]
        for key in PER_CLASS:
            cells += [f"{row[f'{key}_a']:.4f}", f"{row[f'{key}_b']:.4f}", signed(row[f"{key}_change"])]
        rows.append(cells)
    headers = ["class", "rows", "recall A", "recall B", "B - A", "F1 A", "F1 B", "B - A"]
    return render(headers, rows, indent=2)


def _shorten(value: Any) -> str:
    text = format_value(value)
    is_hash = len(text) in _HASH_LENGTHS and not set(text) - set("0123456789abcdef")
    return text[:_N_HASH_DIGITS] if is_hash else text

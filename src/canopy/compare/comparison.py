"""Two runs side by side: what differs, their scores, and whether one is better."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from canopy.compare.significance import compare_predictions
from canopy.compare.spread import is_number
from canopy.quoting import write_command
from canopy.runs.differences import find_differences
from canopy.runs.keys import flatten
from canopy.runs.run import METRICS, Run
from canopy.text_tables import decimals, format_value, render, signed

PREDICTIONS = "evaluation/predictions_{split}.parquet"
TRAINING = ("best.score", "training.epochs", "training.train_seconds", "training.n_parameters")
PER_CLASS = (".recall", ".f1")

# Of a hash as many digits as distinguish two.
_HASH_LENGTHS, _N_HASH_DIGITS = (40, 64), 12


def compare(a: Run, b: Run, *, split: str) -> dict[str, Any]:
    """Compare two evaluated runs on the rows of a split, `test` or `val`.

    Returns:
        Everything in full, as `compare.py --json` prints it: in what the runs differ, by group; their scores,
        also of each class, and what training took; how sure the difference is, and the verdict.

    Raises:
        FileNotFoundError: If one has not been evaluated on the split.
        ValueError: If they were evaluated on other rows, or a file is damaged.
    """
    rows = [load_predictions(run, split=split) for run in (a, b)]
    classes = [[*run.metrics[split]["per_class"]] for run in (a, b)]
    if classes[0] != classes[1] or not rows[0]["label"].equals(rows[1]["label"]):
        raise ValueError(
            "Two runs must be evaluated on the same rows and classes to be compared; found others in "
            f"{a.path} and {b.path}: train and evaluate both on one version of the data"
        )
    found = compare_predictions(
        rows[0]["label"].to_numpy(), *(frame["predicted"].to_numpy() for frame in rows)
    )
    metrics = {}
    first, second = (
        flatten(run.metrics[split]) | {key: run.value(key) for key in TRAINING} for run in (a, b)
    )
    for key, x in first.items():
        is_shown = key in TRAINING or key.endswith(PER_CLASS) or ("." not in key and key != "n_rows")
        y = second.get(key)
        if is_shown and (is_number(x) or is_number(y)):
            metrics[key] = {"a": x, "b": y, "change": y - x if is_number(x) and is_number(y) else None}
    return {
        "a": str(a.path),
        "b": str(b.path),
        "split": split,
        "differences": {
            group: [difference._asdict() for difference in differences]
            for group, differences in find_differences(a, b).items()
        },
        "metrics": metrics,
        "significance": asdict(found),
        "verdict": found.verdict(),
    }


def load_predictions(run: Run, *, split: str) -> pd.DataFrame:
    """Read the class of each row and the one that a run predicts for it."""
    # All that is compared is read, so that a comparison never leaves out what it cannot read.
    if run.known and run.problems:
        raise ValueError(f"A run to compare must be complete; found {run.problems[0]}")
    path = run.path / PREDICTIONS.format(split=split)
    if split not in run.metrics or not path.is_file():
        raise FileNotFoundError(
            f"A run to compare must be evaluated on its {split} rows; found no {path.name} and {METRICS} "
            f'with them: run "{write_command("evaluate", run=run.path)}" first'
        )
    return pd.read_parquet(path, columns=["label", "predicted"]).astype("int64")


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
    rows = []
    for name, row in comparison["metrics"].items():
        pair = row["a"], row["b"]
        n = max((decimals(abs(value)) for value in pair if isinstance(value, float)), default=0)
        cells = [f"{value:.{n}f}" if is_number(value) else format_value(value) for value in pair]
        rows.append([name, *cells, None if row["change"] is None else signed(row["change"], n_decimals=n)])
    parts += [
        f"Scores on {found['n_rows']:,} {comparison['split']} rows\n"
        f"{render(['metric', 'A', 'B', 'B - A'], rows, indent=2)}",
        f"Another class predicted in {found['n_rows'] - found['n_same']:,} rows; "
        f"right in A alone {found['n_only_a']:,}, in B alone {found['n_only_b']:,}",
        comparison["verdict"],
    ]
    return "\n\n".join(parts)


def _shorten(value: Any) -> str:
    text = format_value(value)
    is_hash = len(text) in _HASH_LENGTHS and not set(text) - set("0123456789abcdef")
    return text[:_N_HASH_DIGITS] if is_hash else text

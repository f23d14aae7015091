"""A comparison of two runs as text for a terminal."""

from typing import Any

from canopy.compare.columns import is_number
from canopy.compare.comparison import PER_CLASS, Comparison
from canopy.compare.verdict import verdict
from canopy.text_tables import decimals, format_value, render, signed

# Of a hash as many digits as distinguish two.
_HASH_LENGTHS, _N_HASH_DIGITS = (40, 64), 12


def write_report(comparison: Comparison) -> str:
    """Write what differs, the scores side by side and, last, the verdict."""
    found = comparison.significance
    return "\n\n".join(
        [
            _runs(comparison),
            *_differences(comparison),
            f"Scores on {found.n_rows:,} {comparison.split} rows\n{_metrics(comparison)}",
            f"Classes\n{_classes(comparison)}",
            f"Another class predicted in {found.n_rows - found.n_same:,} rows; "
            f"right in A alone {found.n_only_a:,}, in B alone {found.n_only_b:,}",
            verdict(found, split=comparison.split),
        ]
    )


def _runs(comparison: Comparison) -> str:
    rows = [
        [f"{letter}  {run.name}", run.status, run.started, run.overrides]
        for letter, run in (("A", comparison.a), ("B", comparison.b))
    ]
    return render(["run", "status", "started (UTC)", "overrides"], rows)


def _differences(comparison: Comparison) -> list[str]:
    parts = []
    for group, differences in comparison.differences.items():
        rows = [[item.key, _shorten(item.a), _shorten(item.b)] for item in differences]
        if rows:
            parts.append(f"Different {group}\n{render(['key', 'A', 'B'], rows, indent=2)}")
    same = [group for group, differences in comparison.differences.items() if not differences]
    return [*parts, f"The same {', '.join(same)}"] if same else parts


def _metrics(comparison: Comparison) -> str:
    rows = []
    for name, a, b, change in comparison.metrics():
        n = max((decimals(abs(value)) for value in (a, b) if isinstance(value, float)), default=0)
        cells = [f"{value:.{n}f}" if is_number(value) else format_value(value) for value in (a, b)]
        rows.append([name, *cells, None if change is None else signed(change, n_decimals=n)])
    return render(["metric", "A", "B", "B - A"], rows, indent=2)


def _classes(comparison: Comparison) -> str:
    rows = []
    for name, row in comparison.per_class().items():
        cells = [name, f"{row['support']:,}"]
        for score in PER_CLASS:
            cells += [f"{row[f'{score}_{run}']:.4f}" for run in "ab"] + [signed(row[f"{score}_change"])]
        rows.append(cells)
    headers = ["class", "rows", "recall A", "recall B", "B - A", "F1 A", "F1 B", "B - A"]
    return render(headers, rows, indent=2)


def _shorten(value: Any) -> str:
    text = format_value(value)
    is_hash = len(text) in _HASH_LENGTHS and not set(text) - set("0123456789abcdef")
    return text[:_N_HASH_DIGITS] if is_hash else text

"""Small tables that are written and drafted, and what was found out about their columns."""

import csv
import gzip
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from canopy.tables.draft.draft import Draft, draft_table
from canopy.tables.draft.values import DraftedColumn
from canopy.tables.rows import read_table

N_ROWS = 120
LABELS = [("no", "yes")[row * row % 7 % 2] for row in range(N_ROWS)]
NUMBERS = [f"{(row * 37) % 101 / 8 - 6:.3f}" for row in range(N_ROWS)]
COLOURS = [("red", "green", "blue")[row % 3] for row in range(N_ROWS)]


def write(path: Path, columns: Mapping[str, Any], *, encoding: str = "utf-8", **dialect: Any) -> Path:
    opened: Any = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", newline="", encoding=encoding) as file:
        writer = csv.writer(file, **{"lineterminator": "\n", **dialect})
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def draft(tmp_path: Path, labels: Sequence[Any] = LABELS, **columns: Iterable[Any]) -> Draft:
    """Draft a table, and read all of it with the schema."""
    path = write(tmp_path / "t.csv", {"a": (6 * NUMBERS)[: len(labels)], **columns, "y": labels})
    drafted = draft_table(path, target="y")
    n_rows = sum(batch.num_rows for batch in read_table(path, drafted.schema))
    assert n_rows == drafted.n_rows == len(labels)
    return drafted


def finding(drafted: Draft, name: str = "x") -> DraftedColumn:
    return next(found for found in [drafted.target, *drafted.columns] if found.name == name)


def column(drafted: Draft, name: str = "x") -> dict[str, Any]:
    return drafted.table["columns"][name]


def every(n: int, value: Any, others: Sequence[Any]) -> list[Any]:
    return [value if row % n == 0 else other for row, other in enumerate(others)]

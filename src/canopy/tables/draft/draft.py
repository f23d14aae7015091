"""Draft the schema of a table: its dialect, the kind of each column, its target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from canopy.names import nearest
from canopy.schema.columns import Ignored, Key, Numeric, Target
from canopy.schema.file_format import FileFormat
from canopy.schema.table import STRICT, TableSchema
from canopy.tables.connection import open_duckdb
from canopy.tables.convert import to_numbers
from canopy.tables.draft.categories import merge_groups
from canopy.tables.draft.dialect import sniff
from canopy.tables.draft.kinds import set_kind
from canopy.tables.draft.markers import has_na, remove_markers, settle_markers
from canopy.tables.draft.number_style import find_style
from canopy.tables.draft.target import find_leaks, set_target
from canopy.tables.draft.values import ColumnValues, Finding, TableValues
from canopy.tables.reader import TableFile
from canopy.tables.text import find_files

N_SHOWN = 10
ONLY_CSV = {"delimiter", "quote", "encoding", "ragged"}


@dataclass(frozen=True)
class Draft:
    """The schema of a table, and what was found out about it."""

    files: list[Path]
    n_rows: int
    file: FileFormat
    target: Finding
    columns: list[Finding]
    # Lines of another form.
    n_dropped: int

    @property
    def table(self) -> dict[str, Any]:
        """The section `table` of `params.yaml`, without texts for people."""
        return {
            "file": self.file.model_dump(exclude=set() if self.file.format == "csv" else ONLY_CSV),
            "target": self.target.column.model_dump(exclude_unset=True),
            "columns": {
                finding.name: {"kind": finding.kind, **finding.column.model_dump(exclude_unset=True)}
                for finding in self.columns
            },
            "defaults": STRICT.model_dump(exclude_none=True),
        }

    @property
    def schema(self) -> TableSchema:
        return TableSchema.parse(self.table)


def draft_table(pattern: str | Path, *, target: str, file_options: Mapping[str, Any] | None = None) -> Draft:
    """Draft the schema of a table (`find_files`) from all its values.

    Args:
        pattern: Its files.
        target: The column to predict.
        file_options: Keys of `FileFormat` that need not be found.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no table, lines have another form than its header, the target is no column or has
            no classes, or there is no feature.
    """
    paths, known = find_files(pattern), dict(file_options or {})
    file_format = sniff(paths[0], **known)
    trimming = file_format.model_copy(update={"trim": True})
    files = [TableFile(path, trimming) for path in paths]
    _check_target(files[0], target)
    with open_duckdb(on_disk=True) as connection:
        table = TableValues(connection, files)
        trimmed = table.trimmed or TableFile(paths[0], file_format).names != table.names
        file_format = file_format.model_copy(update={"trim": trimmed} | known)
        if not {"decimal", "thousands"} & known.keys():
            file_format = find_style(table.columns, file_format)
        findings = _find_columns(table.columns, table.names.index(target), file_format)
    file_format = file_format.model_copy(update={"null_values": settle_markers(findings)})
    columns = [finding for finding in findings if not isinstance(finding.column, Target)]
    if all(isinstance(finding.column, Ignored | Key) for finding in columns):
        raise ValueError(
            f"{paths[0]} must have a feature besides {target!r}; got only keys and columns to ignore:\n"
            + "; ".join(f"{finding.name}: {finding.why}" for finding in columns[:N_SHOWN])
        )
    (found,) = (finding for finding in findings if isinstance(finding.column, Target))
    n_dropped = sum(len(file.line_errors) for file in files)
    return Draft(paths, table.n_rows, file_format, found, columns, n_dropped)


def _check_target(file: TableFile, target: str) -> None:
    if target in file.names:
        return
    near = nearest(target, file.names)
    shown = f"; the columns are {', '.join(map(repr, file.names[:N_SHOWN]))}"
    more = ", ..." if len(file.names) > N_SHOWN else ""
    are_numbers = ~to_numbers(pa.array(file.names), Numeric(), FileFormat()).invalid
    hint = "\nThe file seems to have no header: write one as its first line."
    raise ValueError(
        f"--target must be a column of {file.path}; got {target!r}{near or shown + more}"
        f"{hint if are_numbers.mean() >= 0.5 else ''}"
    )


def _find_columns(columns: Sequence[ColumnValues], target: int, file_format: FileFormat) -> list[Finding]:
    is_na_missing = any(map(has_na, columns))
    others = [values for values in columns if values.index != target]
    for values in columns:
        remove_markers(values, is_na_missing=is_na_missing)
    for values in others:
        set_kind(values, file_format)
    markers = sorted({text for values in columns for text in values.finding.markers})
    for values in columns:
        values.finding.kept |= values.which(markers)
    set_target(columns[target], file_format)
    find_leaks(others, columns[target])
    return merge_groups(columns)

"""Draft the schema of a table: its dialect, the kind of each column, its target."""

from collections.abc import Mapping
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
from canopy.tables.draft.dialect import sniff
from canopy.tables.draft.finding import Finding
from canopy.tables.draft.groups import find_groups, merge_group
from canopy.tables.draft.kinds import find_kind
from canopy.tables.draft.markers import MARKERS, are_codes, means_missing, sort_markers, used
from canopy.tables.draft.numbers import find_style
from canopy.tables.draft.store import ColumnStore
from canopy.tables.draft.target import find_leaks, set_target
from canopy.tables.reader import TableFile
from canopy.tables.text import find_files

N_SHOWN = 10
ONLY_CSV = {"delimiter", "quote", "encoding", "ragged"}


@dataclass(frozen=True)
class Draft:
    """The schema of a table, and what was found out about it.

    Attributes:
        files: Its files.
        n_rows: Number of rows.
        file: How it is written.
        target: The target.
        columns: The other columns, in the order of the file.
        n_dropped: Number of lines of another form, which are dropped.
    """

    files: list[Path]
    n_rows: int
    file: FileFormat
    target: Finding
    columns: list[Finding]
    n_dropped: int

    @property
    def table(self) -> dict[str, Any]:
        """The section `table` of `params.yaml`, without texts for people."""
        return {
            "file": self.file.model_dump(exclude=set() if self.file.format == "csv" else ONLY_CSV),
            "target": _declared(self.target),
            "columns": {finding.name: _declared(finding) for finding in self.columns},
            "defaults": STRICT.model_dump(exclude_none=True),
        }

    @property
    def n_features(self) -> int:
        return sum(not isinstance(finding.column, Ignored | Key) for finding in self.columns)

    @property
    def schema(self) -> TableSchema:
        return TableSchema.parse(self.table)


def _declared(finding: Finding) -> dict[str, Any]:
    kind = {} if isinstance(finding.column, Target) else {"kind": finding.kind}
    return kind | finding.column.model_dump(exclude_unset=True)


def draft_table(pattern: str | Path, *, target: str, file_options: Mapping[str, Any] | None = None) -> Draft:
    """Draft the schema of a table from all its values.

    Args:
        pattern: A file, a folder, or a pattern.
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
        store = ColumnStore(connection, files)
        trimmed = store.trimmed or TableFile(paths[0], file_format).names != store.names
        file_format = file_format.model_copy(update={"trim": trimmed} | known)
        if not {"decimal", "thousands"} & known.keys():
            file_format = find_style(store, file_format)
        findings, groups = _find_columns(store, target, file_format)
    file_format = file_format.model_copy(update={"null_values": settle_markers(findings)})
    target_finding = findings.pop(store.names.index(target))
    columns = _merge_groups(findings, groups)
    n_dropped = sum(len(file.line_errors) for file in files)
    draft = Draft(paths, store.n_rows, file_format, target_finding, columns, n_dropped)
    if not draft.n_features:
        raise ValueError(
            f"{paths[0]} must have a feature besides {target!r}; got only keys and columns to ignore:\n"
            + "; ".join(f"{finding.name}: {finding.why}" for finding in columns[:N_SHOWN])
        )
    return draft


def _check_target(file: TableFile, target: str) -> None:
    if target in file.names:
        return
    near = nearest(target, file.names)
    shown = f"; the columns are {', '.join(map(repr, file.names[:N_SHOWN]))}"
    more = ", ..." if len(file.names) > N_SHOWN else ""
    texts = pa.array(file.names)
    n_numbers = len(texts) - int(to_numbers(texts, Numeric(), FileFormat()).invalid.sum())
    hint = (
        "\nThe file seems to have no header: write one as its first line."
        if 2 * n_numbers >= len(texts)
        else ""
    )
    raise ValueError(f"--target must be a column of {file.path}; got {target!r}{near or shown + more}{hint}")


def _find_columns(
    store: ColumnStore, target: str, file_format: FileFormat
) -> tuple[dict[int, Finding], dict[str, list[int]]]:
    indices = range(len(store.names))
    position = store.names.index(target)
    is_na_missing = any("NA" in used(store, index) and not are_codes(store, index) for index in indices)
    findings = {
        index: find_kind(store, index, file_format, is_na_missing=is_na_missing, is_target=index == position)
        for index in indices
    }
    texts = sorted({text for found in findings.values() for text in found.markers})
    for index, found in findings.items():
        found.kept |= store.which(index, texts)
    set_target(store, position, findings[position], file_format)
    find_leaks(store, findings, position)
    return findings, find_groups(store, findings)


def _merge_groups(findings: Mapping[int, Finding], groups: Mapping[str, list[int]]) -> list[Finding]:
    """Put each group in the place of its first column."""
    first = {columns[0]: name for name, columns in groups.items()}
    grouped = {index for columns in groups.values() for index in columns}
    return [
        merge_group(first[index], [findings[member] for member in groups[first[index]]])
        if index in first
        else finding
        for index, finding in findings.items()
        if index in first or index not in grouped
    ]


def settle_markers(findings: Mapping[int, Finding]) -> tuple[str, ...]:
    """Choose the null markers of the file; columns for which they are not right get their own.

    Returns:
        Common markers that mean missing in one column and are a value in none.
    """
    kept = {text for finding in findings.values() for text in finding.kept}
    marking = {text for finding in findings.values() for text in finding.markers}
    common = {text for text in marking - kept if text in MARKERS or means_missing(text)}
    for finding in findings.values():
        if isinstance(finding.column, Ignored):
            continue
        if finding.kept & {*MARKERS}:
            finding.set(null_values=tuple(sorted(finding.markers)))
        elif finding.markers - common:
            finding.set(null_values=sort_markers(finding.markers))
    return sort_markers(common)

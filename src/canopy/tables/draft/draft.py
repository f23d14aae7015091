"""Draft the schema of a table: its dialect, the kind of each column, its target."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canopy.names import nearest, shorten
from canopy.schema.columns import Ignored, Key
from canopy.schema.file_format import FileFormat
from canopy.schema.table import STRICT, TableSchema
from canopy.tables.draft.dialect import find_style, remove_markers, settle_markers, sniff
from canopy.tables.draft.kinds import find_leaks, set_kind, set_target
from canopy.tables.draft.values import DraftedColumn, TableValues
from canopy.tables.reader import TableFile, open_duckdb
from canopy.tables.text import find_files

N_SHOWN = 10


@dataclass(frozen=True)
class Draft:
    """The schema of a table, and what was found out about it."""

    files: list[Path]
    n_rows: int
    file: FileFormat
    target: DraftedColumn
    columns: list[DraftedColumn]

    @property
    def table(self) -> dict[str, Any]:
        """The section `table` of `params.yaml`, without texts for people."""
        return {
            "file": self.file.model_dump(exclude_defaults=True),
            "target": self.target.column.model_dump(exclude_unset=True),
            "columns": {
                values.name: {"kind": values.kind, **values.column.model_dump(exclude_unset=True)}
                for values in self.columns
            },
            "defaults": STRICT.model_dump(exclude_none=True),
        }

    @property
    def schema(self) -> TableSchema:
        return TableSchema.parse(self.table)


def draft_table(pattern: str | Path, *, target: str, file_options: Mapping[str, Any] | None = None) -> Draft:
    """Draft the schema of a table (`find_files`) from all its values; `file_options` need not be found."""
    paths, known = find_files(pattern), dict(file_options or {})
    file_format = sniff(paths[0], **known)
    files = [TableFile(path, file_format) for path in paths]
    if target not in (names := files[0].names):
        raise ValueError(
            f"--target must be a column of {paths[0]}, which starts with a header of names such as "
            f"{', '.join(map(repr, names[:N_SHOWN]))}; got {target!r}{nearest(target, names)}"
        )
    with open_duckdb(on_disk=True) as connection:
        table = TableValues(connection, files)
        remove_markers(table.columns, known.get("null_values"))
        if not {"decimal", "thousands"} & known.keys():
            file_format = find_style(table.columns, file_format)
        columns = [*table.columns]
        found = columns.pop(names.index(target))
        for values in columns:
            set_kind(values, file_format)
        set_target(found, file_format)
        find_leaks(columns, found, file_format)
        null_values = settle_markers(table.columns, known.get("null_values"))
        file_format = file_format.model_copy(update={"null_values": null_values})
    if all(isinstance(values.column, Ignored | Key) for values in columns):
        raise ValueError(
            f"{paths[0]} must have a feature besides {target!r}; got only keys and columns to ignore:\n"
            + "; ".join(f"{values.name}: {values.why}" for values in columns[:N_SHOWN])
        )
    return Draft(paths, table.n_rows, file_format, found, columns)


def describe(draft: Draft) -> str:
    """Describe a table, its target and each column; an exclamation mark is before what deserves a look."""
    columns = [draft.target, *draft.columns]
    names = [shorten(values.name, length=32) for values in columns]
    width = max(map(len, names))
    dialect = draft.file.model_dump(exclude_defaults=True, exclude={"trim"})
    form = "".join(f", {key} {value!r}" for key, value in dialect.items() if value != ("",))
    files = draft.files[0] if len(draft.files) == 1 else f"{len(draft.files)} files"
    lines = [f"{files}: {draft.n_rows:,} rows, {len(columns)} columns{form}"]
    for name, values in zip(names, columns, strict=True):
        lines.append(f"{'!' if values.looks else ' '} {name:<{width}}  {values.kind:<11}  {values.remark}")
    return "\n".join(lines)

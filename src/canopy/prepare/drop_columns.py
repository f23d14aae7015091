"""Stage `drop_columns`: check the raw table and leave out the columns that training does not use."""

import logging
from collections import Counter
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
from omegaconf import DictConfig

from canopy.prepare.interim import (
    dropped_columns,
    interim_path,
    interim_types,
    kept_schema,
    known_labels,
    read_interim,
    table_schema,
    with_column,
)
from canopy.prepare.preprocessor import OTHER
from canopy.schema import TableSchema
from canopy.tables.rows import read_table
from canopy.tables.writer import open_writer

log = logging.getLogger(__name__)


def run(params: DictConfig) -> None:
    """Write the raw table, checked, without the dropped columns."""
    schema, kept = table_schema(params), kept_schema(params)
    dropped = dropped_columns(params, schema)
    log.info("Dropping %d columns: %s", len(dropped), ", ".join(sorted(dropped)) or "none")
    types = interim_types(kept)
    parts = {
        name: pa.array([part for part in column.one_hot if part in dropped])
        for name, column in schema.categorical.items()
        if column.one_hot is not None and name in kept.columns and not dropped.isdisjoint(column.one_hot)
    }
    target = schema.target.column
    n_rows = n_unlabelled = 0
    counts: Counter[str] = Counter()
    with open_writer(interim_path(params, "drop_columns"), pa.schema([*types.items()])) as write:
        for batch in read_table(params.paths.raw, schema):
            n_rows += batch.num_rows
            n_unlabelled += batch[target].null_count
            rows = batch.select([*types])
            for name, values in parts.items():
                rows = with_column(rows, name, pc.if_else(pc.is_in(rows[name], values), OTHER, rows[name]))
            rows = rows.filter(rows[target].is_valid()) if rows[target].null_count else rows
            counts.update(
                {item["values"]: item["counts"] for item in pc.value_counts(rows[target]).to_pylist()}
            )
            write(rows)
    if n_unlabelled:
        log.warning("Dropped %d of %d rows without a label", n_unlabelled, n_rows)
    rare = {value: n for value, n in counts.items() if n < schema.target.min_count}
    if rare:
        _treat_rare_classes(params, schema, types, counts, rare)


def _treat_rare_classes(
    params: DictConfig,
    schema: TableSchema,
    types: Mapping[str, pa.DataType],
    counts: Mapping[str, int],
    rare: Mapping[str, int],
) -> None:
    """Write the table again, as `table.target.rare` says."""
    target = schema.target
    found = ", ".join(f"{value!r} ({n})" for value, n in rare.items())
    if target.rare == "reject":
        raise ValueError(
            f"Each class of {target.column!r} must have at least {target.min_count} rows; got {found}\n"
            "Set table.target.rare to drop (their rows) or merge (them into one class)"
        )
    log.warning("Classes with fewer than %d rows: %s: %s", target.min_count, target.rare, found)
    path = interim_path(params, "drop_columns")
    classes = [value for value in counts if value not in rare]
    with open_writer(path, pa.schema([*types.items()])) as write:
        for batch in read_interim(path, types):
            rows = with_column(batch, target.column, known_labels(batch[target.column], schema, classes))
            write(rows.filter(rows[target.column].is_valid()))

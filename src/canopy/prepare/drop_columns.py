"""Stage `drop_columns`: check the raw table and leave out the columns that training does not use."""

import logging

import pyarrow as pa
import pyarrow.compute as pc
from omegaconf import DictConfig

from canopy.prepare.interim import (
    dropped_columns,
    interim_path,
    interim_types,
    kept_schema,
    table_schema,
    with_column,
)
from canopy.prepare.preprocessor import OTHER
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
    with open_writer(interim_path(params, "drop_columns"), pa.schema([*types.items()])) as write:
        for batch in read_table(params.paths.raw, schema):
            n_rows += batch.num_rows
            n_unlabelled += batch[target].null_count
            rows = batch.select([*types])
            for name, values in parts.items():
                rows = with_column(rows, name, pc.if_else(pc.is_in(rows[name], values), OTHER, rows[name]))
            write(rows.filter(rows[target].is_valid()) if rows[target].null_count else rows)
    if n_unlabelled:
        log.warning("Dropped %d of %d rows without a label", n_unlabelled, n_rows)

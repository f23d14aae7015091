"""Stage `drop_columns`: check the raw table and leave out the columns that training does not use."""

import logging
from collections import Counter
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
from omegaconf import DictConfig

from canopy.prepare import interim
from canopy.prepare.interim import interim_path
from canopy.prepare.labels import known_rows, labelled_rows
from canopy.prepare.preprocessor import OTHER
from canopy.schema import TableSchema
from canopy.tables.writer import open_writer

log = logging.getLogger(__name__)


def run(params: DictConfig) -> None:
    schema, kept = interim.table_schema(params), interim.kept_schema(params)
    dropped = interim.dropped_columns(params, schema)
    log.info("Dropping %d columns: %s", len(dropped), ", ".join(sorted(dropped)) or "none")
    types, target = interim.kept_types(kept), schema.target.column
    path = interim_path(params, "drop_columns")
    parts = {name: dropped.intersection(schema.categorical[name].one_hot or ()) for name in kept.categorical}
    others = {name: pa.array([*names]) for name, names in parts.items() if names}
    found, counts = Counter[str](), Counter[str]()
    with open_writer(path, pa.schema(types)) as write:
        for batch in labelled_rows(params.paths.raw, schema, found=found):
            rows = batch.select([*types])
            for name, values in others.items():
                column = pc.if_else(pc.is_in(rows[name], values), OTHER, rows[name])
                rows = interim.replace_column(rows, name, column)
            if not schema.target.is_numeric:
                labels = pc.value_counts(rows[target]).to_pylist()
                counts.update({item["values"]: item["counts"] for item in labels})
            write(rows)
        if absent := [value for value in schema.target.keep or () if value not in counts]:
            raise ValueError(f"table.target.keep must name classes that rows have; got {absent[0]!r}")
        rare = [] if schema.target.is_numeric else rare_classes(counts, schema)
    unlabelled = "without a label" if schema.target.keep is None else "without a label of table.target.keep"
    for what, reason in (("unlabelled", unlabelled), ("repeated", "that repeat an earlier one")):
        if found[what]:
            log.warning("Dropped %d of %d rows %s", found[what], found["rows"], reason)
    if rare:
        classes = [value for value in counts if value not in rare]
        with open_writer(path, pa.schema(types)) as write:
            for batch in interim.read_rows(path, types):
                write(known_rows(batch, schema, classes))


def rare_classes(counts: Mapping[str, int], schema: TableSchema) -> list[str]:
    """Find the classes, by the rows of each, whose rows are dropped or merged."""
    target = schema.target
    rare = {value: n for value, n in counts.items() if n < target.min_count}
    left = {*counts}.difference(rare) | ({target.merged_name} if rare and target.rare == "merge" else set())
    found = ", ".join(f"{value!r} ({n})" for value, n in rare.items())
    if rare and target.rare == "reject":
        raise ValueError(
            f"Each class of {target.column!r} must have at least {target.min_count} rows; got {found}\n"
            "Set table.target.rare to drop (their rows) or merge (them into one class)"
        )
    if rare and target.rare == "merge" and target.merged_name in {*counts}.difference(rare):
        raise ValueError(
            f"table.target.merged_name must be none of the other classes; got {target.merged_name!r}"
        )
    if len(left) < 2:
        names = ", ".join(map(repr, sorted(left))) or "none"
        raise ValueError(f"Column {target.column!r} must have at least two classes; got {names}")
    if rare:
        log.warning("Classes with fewer than %d rows: %s: %s", target.min_count, target.rare, found)
    return [*rare]

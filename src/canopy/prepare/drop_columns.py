"""Stage `drop_columns`: check the raw table and leave out the columns that training does not use."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from omegaconf import DictConfig

from canopy.engines import Local, open_engine
from canopy.prepare import interim
from canopy.prepare.interim import interim_path, new_table
from canopy.prepare.labels import known_rows, labelled_rows
from canopy.prepare.preprocessor import OTHER
from canopy.schema import TableSchema
from canopy.tables.parse import Problems
from canopy.tables.rows import FirstRows
from canopy.tables.text import find_files
from canopy.tables.writer import open_writer

log = logging.getLogger(__name__)

HINT = 'run "make repro" first'
Types = Mapping[str, pa.DataType]


def run(params: DictConfig) -> None:
    schema, kept = interim.table_schema(params), interim.kept_schema(params)
    dropped = interim.dropped_columns(params, schema)
    raw = params.paths.raw
    log.info("Dropping %d columns: %s", len(dropped), ", ".join(sorted(dropped)) or "none")
    types = interim.kept_types(kept)
    names = {name: dropped.intersection(schema.categorical[name].one_hot or ()) for name in kept.categorical}
    others = {name: [*parts] for name, parts in names.items() if parts}
    files, found, counts, problems = find_files(raw, hint=HINT), Counter[str](), Counter[str](), Problems()
    is_first, engine = FirstRows() if schema.duplicates == "drop" else None, open_engine(params.get("engine"))
    if is_first is not None:
        # It learns which rows there are.
        engine = Local(n_processes=1)
    with new_table(interim_path(params, "drop_columns"), len(files)) as parts:
        drop = partial(_drop, schema, types, others, is_first)
        for part in engine.map(drop, [*zip(files, parts, strict=True)]):
            found.update(part.found)
            counts.update(part.counts)
            problems.merge(part.problems)
        problems.raise_error()
        if not found["rows"]:
            raise ValueError(f"{raw} must hold rows below its header; got none")
        if absent := [value for value in schema.target.keep or () if value not in counts]:
            raise ValueError(f"table.target.keep must name classes that rows have; got {absent[0]!r}")
        rare = [] if schema.target.is_numeric else rare_classes(counts, schema)
        if rare:
            classes = [value for value in counts if value not in rare]
            [*_] = engine.map(partial(_keep_classes, kept, types, classes), parts)
    unlabelled = "without a label" if schema.target.keep is None else "without a label of table.target.keep"
    for what, reason in (("unlabelled", unlabelled), ("repeated", "that repeat an earlier one")):
        if found[what]:
            log.warning("Dropped %d of %d rows %s", found[what], found["rows"], reason)


class _Part(NamedTuple):
    """What one file of the raw table holds: see `labelled_rows`; `counts` are rows with each label."""

    found: Counter[str]
    counts: Counter[str]
    problems: Problems


def _drop(
    schema: TableSchema,
    types: Types,
    others: Mapping[str, Sequence[str]],
    is_first: FirstRows | None,
    paths: tuple[Path, Path],
) -> _Part:
    """Write the columns of `types` of one file; of categorical ones, `others` are no values any more."""
    (source, output), target = paths, schema.target.column
    part, dropped = _Part(Counter(), Counter(), Problems()), {k: pa.array(v) for k, v in others.items()}
    with open_writer(output, pa.schema(types)) as write:
        batches = labelled_rows(source, schema, found=part.found, problems=part.problems, is_first=is_first)
        for batch in batches:
            rows = batch.select([*types])
            for name, values in dropped.items():
                column = pc.if_else(pc.is_in(rows[name], values), OTHER, rows[name])
                rows = interim.replace_column(rows, name, column)
            if not schema.target.is_numeric:
                labels = pc.value_counts(rows[target]).to_pylist()
                part.counts.update({item["values"]: item["counts"] for item in labels})
            write(rows)
    return part


def _keep_classes(schema: TableSchema, types: Types, classes: Sequence[str], path: Path) -> None:
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

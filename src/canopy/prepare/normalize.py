"""Stage `normalize`: fit the preprocessor on training rows and scale the numeric features of all rows."""

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from omegaconf import DictConfig, ListConfig

from canopy.engines import open_engine
from canopy.files import PREPROCESSOR_FILE
from canopy.names import match_columns
from canopy.prepare import interim
from canopy.prepare.fitting import Fit
from canopy.prepare.interim import NO_SPLIT, SPLIT_COLUMN, interim_path
from canopy.prepare.labels import class_values
from canopy.prepare.preprocessor import Preprocessor
from canopy.prepare.scaling import METHODS, TARGET_METHODS, Method, TargetMethod, as_floats
from canopy.schema import TableSchema
from canopy.tables.writer import open_writer

log = logging.getLogger(__name__)


def run(params: DictConfig) -> None:
    """Write the scaled rows of the splits; rows of none end here."""
    schema = interim.kept_schema(params)
    methods = choose_methods([*schema.numeric], params.normalize.methods)
    if (target_method := params.normalize.target) not in TARGET_METHODS:
        raise ValueError(f"normalize.target must be one of {[*TARGET_METHODS]}; got {target_method!r}")
    engine = open_engine(params.get("engine"))
    splits = interim.read_parts(interim_path(params, "split"), SPLIT_COLUMN, engine=engine)
    paths, [(codes, names)] = interim.part_paths(interim_path(params, "drop_columns")), splits.columns
    if len(paths) != len(splits.sizes):
        raise ValueError(
            f"The split must be of the {len(paths)} files of {interim_path(params, 'drop_columns')}; got "
            f'{len(splits.sizes)}: run "make repro"'
        )
    tables = [_Rows(path, codes[part], names) for path, part in zip(paths, splits.slices, strict=True)]
    options = {"methods": methods, "seed": params.seed, "target_method": target_method}
    fit, values = Fit(schema, **options), set[str]()
    for found, labels in engine.map(partial(_fit, schema, options), [*enumerate(tables)]):
        fit.merge(found)
        values |= labels
    classes = [] if schema.target.is_numeric else [*class_values(sorted(values), schema)]
    preprocessor = fit.preprocessor(classes)
    for name, scaling in preprocessor.scalings.items():
        log.info("%s: %s", name, scaling.kind)
    with interim.new_table(interim_path(params, "normalize"), len(tables)) as outputs:
        scale = partial(_scale, schema, preprocessor, target_method)
        [*_] = engine.map(scale, [*zip(tables, outputs, strict=True)])
    preprocessor.save(Path(params.paths.processed) / PREPROCESSOR_FILE)


class _Rows(NamedTuple):
    """A part of the table of `drop_columns`, and the codes and names of its rows' splits."""

    path: Path
    codes: interim.Codes
    names: list[str]

    def read(self, schema: TableSchema) -> Iterator[pa.RecordBatch]:
        rows = interim.read_rows(self.path, interim.kept_types(schema))
        return interim.zip_rows(rows, SPLIT_COLUMN, self.codes, self.names)


def _fit(schema: TableSchema, options: dict[str, Any], item: tuple[int, _Rows]) -> tuple[Fit, set[str]]:
    """Collect what the preprocessor is learnt from, and the labels of a part."""
    part, rows = item
    fit, values = Fit(schema, part=part, **options), set[str]()
    for batch in rows.read(schema):
        if not schema.target.is_numeric:
            values.update(batch[schema.target.column].unique().to_pylist())
        fit.update(batch.filter(pc.equal(batch[SPLIT_COLUMN], "train")))
    return fit, values


def _scale(
    schema: TableSchema, preprocessor: Preprocessor, target_method: TargetMethod, item: tuple[_Rows, Path]
) -> None:
    """Write the scaled rows of a part that are in a split."""
    (table, output), target = item, schema.target.column
    scaled = pa.schema(interim.scaled_types(preprocessor, schema))
    with open_writer(output, scaled) as write:
        for batch in table.read(schema):
            split = batch.filter(pc.not_equal(batch[SPLIT_COLUMN], NO_SPLIT))
            rows = preprocessor.scale(split).select(scaled.names)
            if preprocessor.target is not None:
                with np.errstate(divide="ignore", invalid="ignore"):
                    labels = preprocessor.labels(split[target])
                if not np.isfinite(labels).all():
                    wrong = as_floats(split[target])[~np.isfinite(labels)][0]
                    raise ValueError(
                        f"normalize.target={target_method} must suit the target of each row; got {wrong:g}: "
                        "choose z_score or quantile_normal"
                    )
                rows = interim.replace_column(rows, target, pa.array(labels))
            write(rows)


def choose_methods(names: list[str], entries: ListConfig) -> dict[str, Method]:
    """Find the method of each numeric column: the first of `normalize.methods` that matches decides."""
    chosen: dict[str, Method] = {}
    for entry in entries:
        for name in match_columns(names, entry.columns):
            chosen.setdefault(name, entry.method)
    if unknown := [method for method in chosen.values() if method not in METHODS]:
        raise ValueError(f"normalize.methods must use one of {[*METHODS]}; got {unknown[0]!r}")
    if without := [name for name in names if name not in chosen]:
        raise ValueError(
            f"normalize.methods must match each numeric column; found none for {without[0]!r}: "
            'end the list with {columns: ["*"], method: z_score}'
        )
    return chosen

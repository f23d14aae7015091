"""Stage `normalize`: fit the preprocessor on training rows and scale the numeric features of all rows."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from omegaconf import DictConfig, ListConfig

from canopy.files import PREPROCESSOR_FILE
from canopy.names import match_columns
from canopy.prepare import interim
from canopy.prepare.fitting import Fit
from canopy.prepare.interim import NO_SPLIT, SPLIT_COLUMN, interim_path
from canopy.prepare.labels import class_values
from canopy.prepare.scaling import METHODS, TARGET_METHODS, Method, as_floats
from canopy.tables.writer import open_writer

log = logging.getLogger(__name__)


def run(params: DictConfig) -> None:
    """Write the scaled rows of the splits; rows of none end here."""
    schema = interim.kept_schema(params)
    methods = choose_methods([*schema.numeric], params.normalize.methods)
    path, types = interim_path(params, "drop_columns"), interim.kept_types(schema)
    [splits] = interim.read_codes(interim_path(params, "split"), SPLIT_COLUMN)
    target = schema.target.column

    def rows() -> Iterator[pa.RecordBatch]:
        return interim.zip_rows(interim.read_rows(path, types), SPLIT_COLUMN, *splits)

    if (target_method := params.normalize.target) not in TARGET_METHODS:
        raise ValueError(f"normalize.target must be one of {[*TARGET_METHODS]}; got {target_method!r}")
    fit = Fit(schema, methods=methods, seed=params.seed, target_method=target_method)
    values = set[str]()
    for batch in rows():
        if not schema.target.is_numeric:
            values.update(batch[target].unique().to_pylist())
        fit.update(batch.filter(pc.equal(batch[SPLIT_COLUMN], "train")))
    classes = [] if schema.target.is_numeric else [*class_values(sorted(values), schema)]
    preprocessor = fit.preprocessor(classes)
    for name, scaling in preprocessor.scalings.items():
        log.info("%s: %s", name, scaling.kind)
    scaled = pa.schema(interim.scaled_types(preprocessor, schema))
    with open_writer(interim_path(params, "normalize"), scaled) as write:
        for batch in rows():
            split = batch.filter(pc.not_equal(batch[SPLIT_COLUMN], NO_SPLIT))
            rows_of_splits = preprocessor.scale(split).select(scaled.names)
            if preprocessor.target is not None:
                with np.errstate(divide="ignore", invalid="ignore"):
                    labels = preprocessor.labels(split[target])
                if not np.isfinite(labels).all():
                    wrong = as_floats(split[target])[~np.isfinite(labels)][0]
                    raise ValueError(
                        f"normalize.target={target_method} must suit the target of each row; got {wrong:g}: "
                        "choose z_score or quantile_normal"
                    )
                numbers = pa.array(labels)
                rows_of_splits = interim.replace_column(rows_of_splits, target, numbers)
            write(rows_of_splits)
    preprocessor.save(Path(params.paths.processed) / PREPROCESSOR_FILE)


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

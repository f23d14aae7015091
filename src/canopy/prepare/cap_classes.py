"""Stage `cap_classes`: cut the over-represented classes of the training rows."""

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy.engines import open_engine
from canopy.files import PREPROCESSOR_FILE, write_json
from canopy.prepare import interim
from canopy.prepare.interim import SPLIT_COLUMN, interim_path
from canopy.prepare.labels import class_codes
from canopy.prepare.preprocessor import Preprocessor
from canopy.prepare.scaling import as_floats
from canopy.tables.writer import open_writer

log = logging.getLogger(__name__)


def cap_classes(labels: NDArray[Any], *, max_per_class: int | None, seed: int) -> NDArray[np.bool_]:
    """Choose rows so that no class keeps more than `max_per_class` of them, if any; gives which are kept."""
    if max_per_class is None:
        return np.ones(len(labels), bool)
    if max_per_class < 1:
        raise ValueError(f"cap_classes.max_per_class must be at least 1; found {max_per_class}")
    order = np.random.default_rng(seed).permutation(np.arange(len(labels), dtype=np.int32))
    mixed, kept = labels[order], np.zeros(len(labels), bool)
    for value in np.unique(labels):
        kept[order[mixed == value][:max_per_class]] = True
    return kept


def run(params: DictConfig) -> None:
    schema = interim.kept_schema(params)
    preprocessor = Preprocessor.load(Path(params.paths.processed) / PREPROCESSOR_FILE)
    path, target = interim_path(params, "normalize"), schema.target.column
    engine = open_engine(params.get("engine"))
    if schema.target.is_numeric:
        if params.cap_classes.max_per_class is not None:
            raise ValueError(
                "cap_classes.max_per_class must be null with a numeric target; got "
                f"{params.cap_classes.max_per_class}"
            )
        parts = interim.read_parts(path, SPLIT_COLUMN, engine=engine)
        [(codes, splits)] = parts.columns
        # As if all rows were of one class.
        labels, names = np.zeros(len(codes), np.int8), {target: target}
    else:
        parts = interim.read_parts(path, target, SPLIT_COLUMN, engine=engine)
        (labels, values), (codes, splits) = parts.columns
        # Classes of rows of no split too.
        values = [*values, *(value for value in preprocessor.classes if value not in values)]
        labels, names = class_codes(labels, values, schema)
    stays = codes != splits.index("train")
    training = labels[~stays]
    kept = cap_classes(training, max_per_class=params.cap_classes.max_per_class, seed=params.seed)
    before, after = (
        dict(zip(names.values(), interim.count_codes(found, len(names)), strict=True))
        for found in (training, training[kept])
    )
    for name, n in before.items():
        if not schema.target.is_numeric:
            log.info("Training rows of %s: %s, kept: %s", name, f"{n:,}", f"{after[name]:,}")
    stays[~stays] = kept
    rows = dict(zip(splits, interim.count_codes(codes[stays], len(splits)), strict=True))
    n_cells = len(splits) * len(names)
    # Of each row: its split and class.
    cells = codes.astype(np.min_scalar_type(-n_cells)) * len(names) + labels
    # Of each cell: weights of all rows, and of those that are kept.
    sums = np.zeros((2, n_cells))
    with interim.new_table(interim_path(params, "cap_classes"), len(parts.sizes)) as outputs:
        items = zip(interim.part_paths(path), outputs, parts.slices, strict=True)
        cap = partial(_cap, interim.scaled_types(preprocessor, schema), schema.weight, n_cells)
        tables = [(source, output, stays[rows], cells[rows]) for source, output, rows in items]
        for found in engine.map(cap, tables):
            sums += found
    report: dict[str, Any] = {"before": before, "after": after, "rows": rows}
    if schema.weight:
        before_cap, kept_sums = sums.reshape(2, len(splits), len(names))
        by_split = dict(zip(splits, kept_sums, strict=True))
        if empty := [split for split, found in by_split.items() if not found.any()]:
            raise ValueError(
                f"Column {schema.weight!r} must have a weight above 0 in each split; got 0 in all rows of "
                f"{empty[0]}: correct it, split otherwise, or name it in drop_columns.columns"
            )
        by_split["train_before_cap"] = before_cap[splits.index("train")]
        report["weights"] = {
            split: dict(zip(names.values(), found.tolist(), strict=True)) for split, found in by_split.items()
        }
    write_json(Path(params.paths.reports, "class_cap.json"), report)


def _cap(
    types: Mapping[str, pa.DataType],
    weight: str | None,
    n_cells: int,
    item: tuple[Path, Path, NDArray[np.bool_], interim.Codes],
) -> NDArray[np.float64]:
    """Write the rows of a part that stay; gives the weights of all in each cell, and of those that stay."""
    source, output, stays, cells = item
    start, sums = 0, np.zeros((2, n_cells))
    with open_writer(output, pa.schema(types)) as write:
        for batch in interim.read_rows(source, types):
            rows = slice(start, start + batch.num_rows)
            write(batch.filter(pa.array(stays[rows])))
            if weight:
                weights = as_floats(batch[weight])
                sums += [np.bincount(cells[rows], w, n_cells) for w in (weights, weights * stays[rows])]
            start += batch.num_rows
    return sums

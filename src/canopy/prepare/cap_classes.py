"""Stage `cap_classes`: cut the over-represented classes of the training rows."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy.files import PREPROCESSOR_FILE, write_json
from canopy.prepare.interim import (
    SPLIT_COLUMN,
    count_codes,
    interim_path,
    kept_schema,
    read_codes,
    read_interim,
    scaled_types,
)
from canopy.prepare.labels import class_codes
from canopy.prepare.preprocessor import Preprocessor
from canopy.tables.writer import open_writer

log = logging.getLogger(__name__)


def cap_classes(labels: NDArray[Any], *, max_per_class: int | None, seed: int) -> NDArray[np.int32]:
    """Choose rows so that no class keeps more than `max_per_class` of them.

    Args:
        labels: Class of each row, shape (n_rows,).
        max_per_class: Most rows that one class may keep, at least 1; all of them if None.
        seed: Seed of the draw inside the classes that are cut.

    Returns:
        Kept row indices in ascending order, shape (n_kept,).

    Examples:
        >>> cap_classes(np.array([0, 0, 1]), max_per_class=2, seed=0)
        array([0, 1, 2], dtype=int32)
    """
    order = np.arange(len(labels), dtype=np.int32)
    if max_per_class is None:
        return order
    if max_per_class < 1:
        raise ValueError(f"cap_classes.max_per_class must be at least 1; found {max_per_class}")
    np.random.default_rng(seed).shuffle(order)
    mixed, kept = labels[order], np.zeros(len(labels), bool)
    for value in np.unique(labels):
        kept[order[mixed == value][:max_per_class]] = True
    return np.flatnonzero(kept).astype(np.int32)


def run(params: DictConfig) -> None:
    """Drop training rows of the classes that have too many; every other row stays."""
    schema = kept_schema(params)
    preprocessor = Preprocessor.load(Path(params.paths.processed) / PREPROCESSOR_FILE)
    path, target = interim_path(params, "normalize"), schema.target.column
    (labels, values), (codes, splits) = read_codes(path, target, SPLIT_COLUMN)
    labels, names = class_codes(labels, values, schema)
    stays = codes != splits.index("train")
    training = labels[~stays]
    kept = cap_classes(training, max_per_class=params.cap_classes.max_per_class, seed=params.seed)
    counts = {
        when: dict(zip(names.values(), count_codes(found, len(names)), strict=True))
        for when, found in (("before", training), ("after", training[kept]))
    }
    log.info("Training rows of each class:\n%s", class_table(counts))
    is_kept = np.zeros(len(training), bool)
    is_kept[kept] = True
    stays[~stays] = is_kept
    types = scaled_types(preprocessor, target)
    start = 0
    with open_writer(interim_path(params, "cap_classes"), pa.schema(types)) as write:
        for batch in read_interim(path, types):
            write(batch.filter(pa.array(stays[start : start + batch.num_rows])))
            start += batch.num_rows
    write_json(Path(params.paths.reports) / "class_cap.json", counts)


def class_table(counts: dict[str, dict[str, int]]) -> str:
    """Lay out the class counts before and after the cap, one class a line.

    Examples:
        >>> print(class_table({"before": {"Aspen": 301}, "after": {"Aspen": 200}}))
        class      before       after
        Aspen         301         200
    """
    width = max(len("class"), *(len(name) for name in counts["before"]))
    lines = [f"{'class':{width}}{'before':>12}{'after':>12}"]
    lines += [f"{name:{width}}{n:12,}{counts['after'][name]:12,}" for name, n in counts["before"].items()]
    return "\n".join(lines)

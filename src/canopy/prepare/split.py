"""Stage `split`: assign each row to training, validation or test."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy.files import SPLITS
from canopy.names import nearest
from canopy.params_sections import SplitMethod
from canopy.prepare.interim import (
    SPLIT_COLUMN,
    count_codes,
    interim_path,
    kept_schema,
    read_codes,
    table_schema,
)
from canopy.prepare.labels import class_codes, labelled_rows
from canopy.prepare.stratified import stratified_draw
from canopy.schema.columns import Ignored
from canopy.tables.reader import BATCH_ROWS
from canopy.tables.writer import open_writer

log = logging.getLogger(__name__)

TRAIN, VAL, TEST = (SPLITS.index(name) for name in ("train", "val", "test"))

# Index into `SPLITS` for each row, shape (n_rows,).
SplitCodes = NDArray[np.int8]


def run(params: DictConfig) -> None:
    """Write one column that names the split of each row."""
    schema = kept_schema(params)
    [found] = read_codes(interim_path(params, "drop_columns"), schema.target.column)
    labels, names = class_codes(*found, schema)
    present = {*np.unique(labels).tolist()}
    for code, (value, name) in enumerate(names.items()):
        if code not in present:
            raise ValueError(
                f"Each class of table.target.classes must have rows; got none of {value} ({name}): "
                "take it out of params.yaml"
            )
    codes = _draw(params, labels, [*names])
    sizes = count_codes(codes, len(SPLITS))
    log.info("Rows: %s", ", ".join(f"{name} {n:,}" for name, n in zip(SPLITS, sizes, strict=True)))
    for code, name in enumerate(names.values()):
        absent = [split for index, split in enumerate(SPLITS) if not (labels[codes == index] == code).any()]
        if absent:
            log.warning("%s has no row in %s", name, " and ".join(absent))
    texts = pa.array(SPLITS)
    with open_writer(interim_path(params, "split"), pa.schema({SPLIT_COLUMN: pa.string()})) as write:
        for start in range(0, len(codes), BATCH_ROWS):
            column = texts.take(pa.array(codes[start : start + BATCH_ROWS]))
            write(pa.RecordBatch.from_pydict({SPLIT_COLUMN: column}))


def _draw(params: DictConfig, labels: NDArray[Any], names: list[str]) -> SplitCodes:
    """Divide the rows as the section `split` says."""
    method, sizes = params.split.method, {key: params.split[key] for key in ("test_size", "val_size")}
    if method == SplitMethod.ordered:
        return split_in_order(len(labels), **sizes)
    for name, size in sizes.items():
        is_used = name == "val_size" or method == SplitMethod.stratified
        if is_used and not 0 < size < 1:
            raise ValueError(f"split.{name} must be between 0 and 1; got {size}")
    if method == SplitMethod.leave_group_out:
        tested = _rows_that_set(params.split.left_out, params, names)
        return leave_group_out(labels, tested, val_size=sizes["val_size"], seed=params.seed, names=names)
    return split_rows(labels, **sizes, seed=params.seed, names=names)


def _rows_that_set(column: str | None, params: DictConfig, classes: list[str]) -> NDArray[np.bool_]:
    """Read a 0/1 column of the raw table, whether or not it is dropped.

    What a model is tested on without having seen it is of no use to it as a feature.
    """
    schema = table_schema(params)
    groups = {part: name for name, found in schema.categorical.items() for part in found.one_hot or ()}
    if column not in groups:
        raise ValueError(
            f"split.left_out must be a 0/1 column with split.method=leave_group_out; got {column!r}"
            f"{nearest(column or '', groups)}"
        )
    group = groups[column]
    if schema.duplicates == "report":
        others = {*schema.all_file_columns[:-1]}.difference(schema.file_columns(group))
        columns = {group: schema.columns[group], **dict.fromkeys(others, Ignored())}
        schema = schema.model_copy(update={"columns": columns})
    found = [rows[group] for rows in labelled_rows(params.paths.raw, schema, classes=classes)]
    tested: NDArray[np.bool_] = pc.equal(pa.concat_arrays(found), column).to_numpy(zero_copy_only=False)
    return tested


def split_rows(
    labels: NDArray[Any], *, test_size: float, val_size: float, seed: int, names: Sequence[str]
) -> SplitCodes:
    """Draw test rows from all rows, then validation rows from what is left, both stratified by class.

    Args:
        labels: Code of each row's class, shape (n_rows,).
        test_size: Share of all rows that test.
        val_size: Share of the remaining rows that validate.
        seed: Seed of both draws.
        names: The class of each code, for messages.

    Raises:
        ValueError: If a class has too few rows to be in every split.
    """
    counts = count_codes(labels, len(names))
    if min(counts) < len(SPLITS):
        raise ValueError(
            f"Each class must have at least {len(SPLITS)} rows, one for each split; got class "
            f"{names[counts.index(min(counts))]} with {min(counts)}"
        )
    codes = np.full(len(labels), TRAIN, dtype=np.int8)
    rest, test = stratified_draw(np.arange(len(labels), dtype=np.int32), labels, size=test_size, seed=seed)
    codes[test] = TEST
    del test
    _, val = stratified_draw(rest, labels, size=val_size, seed=seed)
    codes[val] = VAL
    for code, split in enumerate(SPLITS):
        absent = np.setdiff1d(np.arange(len(names)), labels[codes == code])
        if absent.size:
            raise ValueError(
                "Each class must have a row in every split; got none of class "
                f"{names[absent[0]]} in {split}: add rows of that class or change split.test_size or "
                "split.val_size"
            )
    return codes


def split_in_order(n_rows: int, *, test_size: float, val_size: float) -> SplitCodes:
    """Let the first rows train, those after them validate and the last ones test; sizes are numbers of rows.

    Examples:
        >>> split_in_order(6, test_size=3, val_size=1)
        array([0, 0, 1, 2, 2, 2], dtype=int8)
    """
    for name, size in (("test_size", test_size), ("val_size", val_size)):
        if size < 1 or size != int(size):
            raise ValueError(f"split.{name} must be a number of rows with split.method=ordered; got {size}")
    n_test, n_val = int(test_size), int(val_size)
    n_train = n_rows - n_test - n_val
    if n_train < 1:
        raise ValueError(
            f"split.test_size + split.val_size must leave rows to train; got {n_test:,} + {n_val:,} of "
            f"{n_rows:,} rows"
        )
    return np.repeat(np.array([TRAIN, VAL, TEST], dtype=np.int8), [n_train, n_val, n_test])


def leave_group_out(
    labels: NDArray[Any], tested: NDArray[np.bool_], *, val_size: float, seed: int, names: Sequence[str]
) -> SplitCodes:
    """Test on given rows; draw a share of the others to validate, stratified by class.

    Args:
        labels: Code of each row's class, shape (n_rows,).
        tested: Whether a row tests, shape (n_rows,).
        val_size: The share.
        seed: Seed of the draw.
        names: The class of each code, for messages.

    Raises:
        ValueError: If no row or every row is left out, or one of the other rows' classes has fewer than two.
    """
    if tested.all() or not tested.any():
        raise ValueError(f"split.left_out must leave out some rows; got {tested.sum():,} of {len(tested):,}")
    others = np.flatnonzero(~tested).astype(np.int32)
    values, counts = np.unique(labels[others], return_counts=True)
    if counts.min() < 2:
        raise ValueError(
            "Each class must have at least 2 rows to train and to validate, or none; got class "
            f"{names[values[counts.argmin()]]} with {counts.min()} besides the rows that split.left_out names"
        )
    codes = np.full(len(labels), TRAIN, dtype=np.int8)
    _, val = stratified_draw(others, labels, size=val_size, seed=seed)
    codes[val], codes[tested] = VAL, TEST
    return codes

"""Stage `split`: assign each row to training, validation or test."""

import logging
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy.files import SPLITS
from canopy.names import nearest
from canopy.params_sections import SplitMethod
from canopy.prepare import interim
from canopy.prepare.interim import SPLIT_COLUMN, interim_path
from canopy.prepare.labels import class_codes, labelled_rows
from canopy.schema.columns import Ignored
from canopy.tables.reader import BATCH_ROWS
from canopy.tables.writer import open_writer

log = logging.getLogger(__name__)

TRAIN, VAL, TEST = (SPLITS.index(name) for name in ("train", "val", "test"))

Rows = NDArray[np.int32]
# Index into `SPLITS` for each row, shape (n_rows,).
SplitCodes = NDArray[np.int8]


def run(params: DictConfig) -> None:
    """Write one column that names the split of each row."""
    schema = interim.kept_schema(params)
    [found] = interim.read_codes(interim_path(params, "drop_columns"), schema.target.column)
    labels, names = class_codes(*found, schema)
    for (value, name), n in zip(names.items(), interim.count_codes(labels, len(names)), strict=True):
        if not n:
            raise ValueError(
                f"Each class of table.target.classes must have rows; got none of {value} ({name}): "
                "take it out of params.yaml"
            )
    codes = _draw(params, labels, [*names])
    sizes = interim.count_codes(codes, len(SPLITS))
    log.info("Rows: %s", ", ".join(f"{name} {n:,}" for name, n in zip(SPLITS, sizes, strict=True)))
    for code, name in enumerate(names.values()):
        absent = [split for index, split in enumerate(SPLITS) if not (labels[codes == index] == code).any()]
        if absent and params.split.method == SplitMethod.stratified:
            raise ValueError(
                f"Each class must have a row in every split; got none of class {name} in {absent[0]}: add "
                "some or change split.test_size or split.val_size"
            )
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
    if method == SplitMethod.leave_group_out:
        del sizes["test_size"]
    for name, size in sizes.items():
        if not 0 < size < 1:
            raise ValueError(f"split.{name} must be between 0 and 1; got {size}")
    if method == SplitMethod.leave_group_out:
        return leave_group_out(labels, _rows_that_set(params, names), **sizes, seed=params.seed)
    return split_rows(labels, **sizes, seed=params.seed)


def _rows_that_set(params: DictConfig, classes: list[str]) -> NDArray[np.bool_]:
    """Read the 0/1 column `split.left_out` of the raw table, whether or not it is dropped."""
    schema, column = interim.table_schema(params), params.split.left_out
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


def split_rows(labels: NDArray[Any], *, test_size: float, val_size: float, seed: int) -> SplitCodes:
    """Draw test rows from all rows, then validation rows from what is left, both stratified by class.

    `test_size` is a share of all rows, `val_size` of the remaining ones.
    """
    codes = np.full(len(labels), TRAIN, dtype=np.int8)
    rest, test = stratified_draw(np.arange(len(labels), dtype=np.int32), labels, size=test_size, seed=seed)
    codes[test] = TEST
    del test
    _, val = stratified_draw(rest, labels, size=val_size, seed=seed)
    codes[val] = VAL
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
    if (n_train := n_rows - n_test - n_val) < 1:
        raise ValueError(
            f"split.test_size + split.val_size must leave rows to train; got {n_test:,} + {n_val:,} of "
            f"{n_rows:,} rows"
        )
    return np.repeat(np.array([TRAIN, VAL, TEST], dtype=np.int8), [n_train, n_val, n_test])


def leave_group_out(
    labels: NDArray[Any], tested: NDArray[np.bool_], *, val_size: float, seed: int
) -> SplitCodes:
    """Test on given rows; draw a share of the others to validate, stratified by class."""
    if tested.all() or not tested.any():
        raise ValueError(f"split.left_out must leave out some rows; got {tested.sum():,} of {len(tested):,}")
    codes = np.full(len(labels), TRAIN, dtype=np.int8)
    _, val = stratified_draw(np.flatnonzero(~tested).astype(np.int32), labels, size=val_size, seed=seed)
    codes[val], codes[tested] = VAL, TEST
    return codes


def stratified_draw(rows: Rows, labels: NDArray[Any], *, size: float, seed: int) -> tuple[Rows, Rows]:
    """Draw a share of some rows, with the same share of each class.

    Row for row the draw of scikit-learn's `train_test_split`, by which published results are split; importing
    scikit-learn would take longer than the draw.

    Args:
        rows: Numbers of the rows to draw from, shape (n,).
        labels: Class of each row of the table, shape (n_rows,).
        size: The share, between 0 and 1.
        seed: Seed of the draw.

    Returns:
        The rows that are left and those that are drawn, both in random order.
    """
    random = np.random.RandomState(seed)
    classes = labels[rows]
    values, counts = np.unique(classes, return_counts=True)
    n_drawn = math.ceil(size * len(rows))
    n_left = len(rows) - n_drawn
    if min(n_drawn, n_left) < len(values):
        raise ValueError(
            f"Each part of a stratified split must have at least one row of each of {len(values)} classes; "
            f"got {n_left} and {n_drawn} rows: change split.test_size or split.val_size"
        )
    left_counts = _apportion(n_left, counts, random)
    drawn_counts = _apportion(n_drawn, counts - left_counts, random)
    left, drawn = [], []
    for value, n, m in zip(values, left_counts, drawn_counts, strict=True):
        found = rows[classes == value]
        random.shuffle(found)
        left.append(found[:n])
        drawn.append(found[n : n + m])
    parts = np.concatenate(left), np.concatenate(drawn)
    for part in parts:
        random.shuffle(part)
    return parts


def _apportion(n: int, counts: NDArray[np.int64], random: np.random.RandomState) -> NDArray[np.int64]:
    """Divide `n` draws among classes in proportion to their counts, by largest remainder, ties at random."""
    exact = counts / counts.sum() * n
    shares = np.floor(exact)
    remainders = exact - shares
    for value in np.unique(remainders)[::-1]:
        n_missing = int(n - shares.sum())
        if n_missing <= 0:
            break
        tied = np.flatnonzero(remainders == value)
        shares[random.choice(tied, size=min(len(tied), n_missing), replace=False)] += 1
    found: NDArray[np.int64] = shares.astype(np.int64)
    return found

"""Stage `split`: assign each row to training, validation or test."""

import logging
import math
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy.engines import open_engine
from canopy.files import SPLITS
from canopy.params_sections import SplitMethod
from canopy.prepare import interim
from canopy.prepare.interim import NO_SPLIT, SPLIT_COLUMN, interim_path, new_table
from canopy.prepare.labels import read_strata
from canopy.prepare.split_by_column import TEST, TRAIN, VAL, SplitCodes, split_by_column, split_by_time
from canopy.tables.reader import BATCH_ROWS
from canopy.tables.writer import open_writer

log = logging.getLogger(__name__)

# Methods whose validation rows are drawn where nothing says which they are.
DRAWN = (SplitMethod.stratified, SplitMethod.leave_group_out, SplitMethod.predefined)

Rows = NDArray[np.int32]
Counts = NDArray[np.int64]


def run(params: DictConfig) -> None:
    """Write one column that names the split of each row."""
    schema = interim.kept_schema(params)
    path = interim_path(params, "drop_columns")
    labels, names, part_sizes = read_strata(path, schema, open_engine(params.get("engine")))
    codes = _draw(params, labels, [*names])
    splits = [*SPLITS, NO_SPLIT]
    sizes = dict(zip(splits, interim.count_codes(codes, len(splits)), strict=True))
    log.info("Rows: %s", ", ".join(f"{name} {n:,}" for name, n in sizes.items() if n or name in SPLITS))
    if empty := [name for name in SPLITS if not sizes[name]]:
        raise ValueError(f"Each split must have rows; got none in {empty[0]}: change split of params.yaml")
    for code, (value, name) in enumerate(() if schema.target.is_numeric else names.items()):
        absent = [split for index, split in enumerate(SPLITS) if not (labels[codes == index] == code).any()]
        if len(absent) == len(SPLITS) and not (labels == code).any():
            raise ValueError(
                f"Each class of table.target.classes must have rows; got none of {value} ({name}): "
                "take it out of params.yaml"
            )
        if absent and params.split.method == SplitMethod.stratified and params.split.n_folds is None:
            raise ValueError(
                f"Each class must have a row in every split; got none of class {name} in {absent[0]}: add "
                "some or change split.test_size or split.val_size"
            )
        if absent:
            log.warning("%s has no row in %s", name, " and ".join(absent))
    texts, start = pa.array(splits), 0
    with new_table(interim_path(params, "split"), len(part_sizes)) as parts:
        for part, n_rows in zip(parts, part_sizes, strict=True):
            with open_writer(part, pa.schema({SPLIT_COLUMN: pa.string()})) as write:
                for first in range(start, start + n_rows, BATCH_ROWS):
                    found = codes[first : min(first + BATCH_ROWS, start + n_rows)]
                    write(pa.record_batch([texts.take(pa.array(found))], [SPLIT_COLUMN]))
            start += n_rows


def _draw(params: DictConfig, labels: NDArray[Any], classes: list[str]) -> SplitCodes:
    """Divide the rows as the section `split` says."""
    split, seed = params.split, params.seed
    check_unused(split)
    sizes = {key: split[key] for key in ("test_size", "val_size")}
    if split.method == SplitMethod.ordered and split.n_folds is None:
        return split_in_order(len(labels), **sizes)
    for name, size in sizes.items():
        if not 0 < size < 1 and not (name == "test_size" and split.n_folds is not None):
            raise ValueError(f"split.{name} must be between 0 and 1; got {size}")
    if split.n_folds is not None and not 0 <= split.fold < split.n_folds >= 2:
        raise ValueError(
            "split.n_folds must be null or >= 2, and split.fold from 0 to n_folds - 1; got "
            f"{split.n_folds} and {split.fold}"
        )
    if split.method == SplitMethod.ordered:
        return split_by_time(np.arange(len(labels), dtype=np.int32), split)
    if split.method != SplitMethod.stratified:
        codes = split_by_column(params, labels, classes)
    elif split.n_folds is None:
        return split_rows(labels, **sizes, seed=seed)
    else:
        tested = stratified_folds(labels, n_folds=split.n_folds, seed=seed) == split.fold
        codes = np.where(tested, np.int8(TEST), np.int8(TRAIN))
    if split.method in DRAWN and not (codes == VAL).any():
        rows = np.flatnonzero(codes == TRAIN).astype(np.int32)
        codes[stratified_draw(rows, labels, size=split.val_size, seed=seed, both=False)[1]] = VAL
    return codes


def check_unused(split: DictConfig) -> None:
    """Refuse options that the method does not use: without them, rows would be split otherwise than meant."""
    method, n_folds, values = split.method, split.n_folds, split.get("values") or {}
    by_value = method in (SplitMethod.leave_group_out, SplitMethod.predefined)
    # Where the values are folds, only those of no split can be named.
    used = values if by_value and n_folds is None else [NO_SPLIT] * by_value
    unused = {
        "column": method in (SplitMethod.stratified, SplitMethod.ordered) and split.column,
        "values": {key: group for key, group in values.items() if key not in used},
        "gap": method != SplitMethod.time and split.gap,
        "fold": n_folds is None and split.fold,
    }
    for key, value in unused.items():
        if value:
            raise ValueError(
                f"split.{key} must be left out with split.method={method} and split.n_folds={n_folds}, which "
                f"do not use it; got {value}"
            )


def split_rows(labels: NDArray[Any], *, test_size: float, val_size: float, seed: int) -> SplitCodes:
    """Draw a share of all rows to test, then one of the remaining rows to validate, stratified by class."""
    codes = np.full(len(labels), TRAIN, dtype=np.int8)
    rows, test = stratified_draw(None, labels, size=test_size, seed=seed, least_left=2)
    codes[test] = TEST
    del test  # before the next draw takes memory
    codes[stratified_draw(rows, labels, size=val_size, seed=seed, both=False)[1]] = VAL
    return codes


def split_in_order(n_rows: int, *, test_size: float, val_size: float) -> SplitCodes:
    """Let the first rows train, those after them validate and the last ones test, so many as given."""
    sizes = np.array([n_rows - test_size - val_size, val_size, test_size])
    if (sizes < 1).any() or (sizes % 1).any():
        raise ValueError(
            "split.test_size and split.val_size must leave rows to train, each a number of rows with "
            f"split.method=ordered; got {test_size} and {val_size} of {n_rows:,} rows"
        )
    return np.repeat(np.array([TRAIN, VAL, TEST], dtype=np.int8), sizes.astype(int))


def stratified_folds(labels: NDArray[Any], *, n_folds: int, seed: int) -> NDArray[np.int16]:
    """Give the fold of each row, as scikit-learn's `StratifiedKFold` with `shuffle` does."""
    folds, random, start = np.empty(len(labels), np.int16), np.random.RandomState(seed), 0
    for value in sorted(np.unique(labels), key=lambda value: (labels == value).argmax()):
        rows = labels == value
        n = int(rows.sum())
        # Classes one after another, dealt out to the folds in turn.
        found = np.sort(np.arange(start, start + n, dtype=np.int32) % n_folds)
        random.shuffle(found)
        folds[rows], start = found, start + n
    return folds


def stratified_draw(
    rows: Rows | None, labels: NDArray[Any], *, size: float, seed: int, least_left: int = 1, both: bool = True
) -> tuple[Rows, Rows]:
    """Draw a share (`size`) of some rows (None: all), with the same share of each class, by all rows' labels.

    Row for row the draw of scikit-learn's `train_test_split`, by which published results are split (importing
    it takes longer), but of rare classes one row is drawn, and `least_left` are left, where there are enough.

    Returns:
        The rows that are left (none unless `both`) and those that are drawn, both in random order.
    """
    random = np.random.RandomState(seed)
    classes = labels if rows is None else labels[rows]
    values = np.unique(classes)
    counts = np.array([np.count_nonzero(classes == value) for value in values])
    n_drawn = math.ceil(size * len(classes))
    n_left = len(classes) - n_drawn
    if min(n_drawn, n_left) < len(values):
        raise ValueError(
            f"Each part of a stratified split must have at least one row of each of {len(values)} classes; "
            f"got {n_left} and {n_drawn} rows: change split.test_size or split.val_size"
        )
    n_left_of = _apportion(n_left, counts, random)
    n_drawn_of = _apportion(n_drawn, counts - n_left_of, random)
    _give_rare_classes(n_drawn_of, n_left_of, least=1, least_other=least_left)
    _give_rare_classes(n_left_of, n_drawn_of, least=least_left, least_other=1)
    parts = left, drawn = np.empty(n_left * both, np.int32), np.empty(n_drawn, np.int32)
    for value, count, n, m in zip(values, counts, n_left_of, n_drawn_of, strict=True):
        found = _rows_of(value, count, classes, rows)
        random.shuffle(found)
        left[:n], drawn[:m] = found[: n * both], found[n : n + m]
        left, drawn = left[n:], drawn[m:]
        del found  # before the rows of the next class are in memory
    for part in parts:
        random.shuffle(part)
    return parts


def _rows_of(value: object, count: int, classes: NDArray[Any], rows: Rows | None) -> Rows:
    """Find the `count` rows of a class, in parts, since NumPy takes eight bytes for each place on the way."""
    found, n_found = np.empty(count, np.int32), 0
    for start in range(0, len(classes), BATCH_ROWS):
        places = start + np.flatnonzero(classes[start : start + BATCH_ROWS] == value)
        part = places if rows is None else rows[places]
        found[n_found : n_found + len(part)] = part
        n_found += len(part)
    return found


def _apportion(n: int, counts: Counts, random: np.random.RandomState) -> Counts:
    """Divide `n` draws among classes in proportion to their counts, by largest remainder, ties at random."""
    exact = counts / counts.sum() * n
    shares: Counts = np.floor(exact).astype(np.int64)
    remainders = exact - shares
    for value in np.unique(remainders)[::-1]:
        if (n_missing := n - shares.sum()) <= 0:
            break
        tied = np.flatnonzero(remainders == value)
        shares[random.choice(tied, size=min(len(tied), n_missing), replace=False)] += 1
    return shares


def _give_rare_classes(counts: Counts, others: Counts, *, least: int, least_other: int) -> None:
    """Exchange rows between two parts so that each class has `least` in one, if the other can spare them."""
    for place in np.flatnonzero(counts < least):
        while counts[place] < least < counts.max() and others[place] > least_other:
            largest = counts.argmax()
            counts[[place, largest]] += [1, -1]
            others[[place, largest]] += [-1, 1]

"""Splits by a column of the raw table: by its groups, its times, a hash of its texts, or what they say."""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy.files import SPLITS
from canopy.names import by_number, nearest, shorten
from canopy.params_sections import Split, SplitMethod
from canopy.prepare import interim
from canopy.prepare.interim import NO_SPLIT
from canopy.prepare.labels import labelled_rows
from canopy.schema.columns import Column, first_repeated
from canopy.tables.convert import is_number, to_texts

# For each row the index into `ALL_SPLITS`.
SplitCodes = NDArray[np.int8]
TRAIN, VAL, TEST, NONE = range(4)
ALL_SPLITS = [*SPLITS, NO_SPLIT]
Hashes = NDArray[np.uint64]
AS_WRITTEN = Column(null_values=())


def split_by_column(params: DictConfig, labels: NDArray[Any], classes: Sequence[str]) -> SplitCodes:
    """Divide the rows by `split.column`; given splits may be without validation rows."""
    split, method, columns = params.split, params.split.method, read_column(params, classes)
    if method == SplitMethod.time:
        values = [*columns]
        is_time = pa.types.is_timestamp(values[0].type)
        times = np.concatenate([found.cast(pa.int64()) if is_time else found for found in values])
        return split_by_time(times, split, gap=read_gap(split.gap, is_time=is_time))
    if method in (SplitMethod.group, SplitMethod.hash):
        # Here, since most tables are split without it.
        from pandas.util import hash_array

        key = f"{params.seed:016d}"
        texts = (found.to_numpy(zero_copy_only=False) for found in columns)
        hashes = np.concatenate([hash_array(found, hash_key=key) for found in texts])
        return split_by_group(hashes, labels, split) if method == "group" else split_by_hash(hashes, split)
    batches = (pa.record_batch([texts], ["text"]) for texts in columns)
    [(codes, names)] = interim.encode(batches, "text")
    return split_by_value(names, split)[codes]


def read_column(params: DictConfig, classes: Sequence[str]) -> Iterator[pa.Array]:
    """Read `split.column`, or the keys, in the labelled rows: as texts; as times or numbers for `time`."""
    schema, column, method = interim.table_schema(params), params.split.column, params.split.method
    parts = {part: name for name, found in schema.categorical.items() for part in found.one_hot or ()}
    is_time = method == SplitMethod.time
    names = schema.keys if column is None and method == SplitMethod.hash else [column]
    known = [*schema.numeric, *schema.datetime] if is_time else [*schema.columns, *parts]
    if not names or not {*names}.issubset(known):
        kind = " of kind datetime or numeric (drop_columns may drop it)" if is_time else ""
        kind = kind if names else " where no column is of kind key,"
        raise ValueError(
            f"split.column must be one of table.columns{kind} with split.method={method}; got {column!r}"
            f"{nearest(column or '', known)}"
        )
    n_rows = n_missing = 0
    read = schema.with_keys([name for name in names if name not in parts])
    for rows in labelled_rows(params.paths.raw, read, classes=classes):
        if column in parts:
            is_set = pc.fill_null(pc.equal(rows[parts[column]], column), False)  # noqa: FBT003
            values = pc.if_else(is_set, "1", "0")
        elif is_time:
            values = rows[column]
        else:
            texts = [to_texts(rows[name], AS_WRITTEN, schema.file) for name in names]
            values = pc.binary_join_element_wise(*texts, "\t")
        n_rows, n_missing = n_rows + len(values), n_missing + values.null_count
        yield values
    if n_missing:
        raise ValueError(
            f"split.column ({', '.join(names)}) must have a value in every row; got none in {n_missing:,} of "
            f"{n_rows:,} rows"
        )


def read_gap(gap: Any, *, is_time: bool) -> float:
    """Read `split.gap`: a number, or a duration in microseconds."""
    # Here, since most tables are split without it.
    import pandas as pd

    with suppress(ValueError, TypeError):
        found = math.nan
        if not is_time:
            found = float(gap or 0)
        elif gap is None or (isinstance(gap, str) and not is_number(gap)):
            found = pd.Timedelta(re.sub(r"d\b", "D", gap or "0D")) / pd.Timedelta(1, "us")
        if found >= 0:
            return found
    raise ValueError(
        f"split.gap must be a number with a numeric split.column, or a duration such as 7d; got {gap!r}"
    )


def split_by_time(times: NDArray[Any], split: Split, *, gap: float = 0) -> SplitCodes:
    """Let the earliest rows train and the last ones test; rows of one time stay together.

    Rows less than `gap` before the first one of the next split are in none. Of `n_folds + 1` blocks of rows,
    each but the first tests in one fold, where later rows are in no split (scikit-learn's `TimeSeriesSplit`).
    """
    n, ordered = len(times), np.sort(times)
    n_later = 1 if split.n_folds is None else split.n_folds - split.fold
    n_test = split.test_size * n if split.n_folds is None else n // (split.n_folds + 1)

    def change_near(n_before: float) -> int:
        time = ordered[min(int(n_before), n - 1)]
        places = [int(np.searchsorted(ordered, time, side)) for side in ("left", "right")]
        return min(places, key=lambda place: abs(place - n_before))

    test, end = (change_near(n - blocks * n_test) for blocks in (n_later, n_later - 1))
    val = change_near((1 - split.val_size) * test)
    if not 0 < val < test < end:
        raise ValueError(
            "split.column must have enough different times for training, validation and test; got "
            f"{len(np.unique(times)):,} in {n:,} rows: change split.test_size, val_size or n_folds"
        )
    codes = np.full(n, TRAIN, np.int8)
    for first in [val, test, end][: 2 + (end < n)]:
        codes += times >= ordered[first]
    for code, first in ((TRAIN, val), (VAL, test)):
        codes[(codes == code) & (times > ordered[first] - gap)] = NONE
    return codes


def split_by_hash(hashes: Hashes, split: Split) -> SplitCodes:
    """Split each row by the two halves of its hash alone; the sizes are probabilities."""
    tests, validates = (hashes >> np.uint64(32)) / 2**32, (hashes & np.uint64(2**32 - 1)) / 2**32
    n, k = split.n_folds, split.fold
    first, end = (0, split.test_size) if n is None else (k / n, (k + 1) / n)
    codes = np.where(validates < split.val_size, np.int8(VAL), np.int8(TRAIN))
    codes[(first <= tests) & (tests < end)] = TEST
    return codes


def split_by_group(hashes: Hashes, labels: NDArray[Any], split: Split) -> SplitCodes:
    """Keep all rows of a group, which have one hash, in one split."""
    parts = [1 - split.val_size, split.val_size]
    if split.n_folds is None:
        parts = [part * (1 - split.test_size) for part in parts]
        return assign_groups(hashes, labels, [*parts, split.test_size]).astype(np.int8)
    others = assign_groups(hashes, labels, [1 / split.n_folds] * split.n_folds) != split.fold
    codes = np.full(len(labels), TEST, np.int8)
    codes[others] = assign_groups(hashes[others], labels[others], parts)
    return codes


def assign_groups(hashes: Hashes, labels: NDArray[Any], shares: Sequence[float]) -> NDArray[np.int16]:
    """Assign each group to a part, so that each part has about its share of the rows and of each class.

    As in scikit-learn's `StratifiedGroupKFold`, large groups come first, and each goes where it lowers the
    squared differences to the shares most, relative to the shares: where most is missing.
    """
    # Here, since most tables are split without it.
    import pandas as pd

    groups, names = pd.factorize(hashes)
    if len(names) < len(shares):
        raise ValueError(f"split.column must have at least {len(shares)} groups of rows; got {len(names)}")
    classes, n_rows = np.unique(labels, return_counts=True)
    counts = [np.bincount(groups[labels == value], minlength=len(names)) for value in classes]
    # All rows count as much as the classes together.
    scale = math.sqrt(len(classes))
    weights = np.column_stack([*counts / n_rows[:, None], np.sum(counts, axis=0) / len(labels) * scale])
    missing = np.outer(shares, [1] * len(classes) + [scale])
    part_of, is_empty = np.empty(len(names), np.int16), np.ones(len(shares), bool)
    order = np.lexsort([names, -(weights**2).sum(axis=1)])
    for n_left, group in zip(range(len(order), 0, -1), order, strict=True):
        fit = (missing - weights[group] / 2) @ weights[group] / np.asarray(shares)
        if n_left <= is_empty.sum():
            fit[~is_empty] = -math.inf
        part = part_of[group] = fit.argmax()
        is_empty[part] = False
        missing[part] -= weights[group]
    return part_of[groups]


def split_by_value(texts: Sequence[str], split: DictConfig) -> SplitCodes:
    """Give the split of each value of the column, shape (n_values,), as the section `split` says."""
    order, named, tested = sorted(texts, key=by_number), dict(split.get("values") or {}), list[str]()
    found = shorten(", ".join(map(repr, order)))
    if unknown := named.keys() - {*ALL_SPLITS}:
        raise ValueError(f"split.values must have the keys {', '.join(ALL_SPLITS)}; got {', '.join(unknown)}")
    named = {name: _as_texts(group, texts) for name, group in named.items()}
    listed = [text for group in named.values() for text in group]
    if (twice := first_repeated(listed)) is not None:
        raise ValueError(f"split.values must name each value once; got {twice!r} twice")
    leaves_out, is_fold = split.method == SplitMethod.leave_group_out, split.n_folds is not None
    if (leaves_out or is_fold) and not ({*named} <= {"test", NO_SPLIT} and {*listed} <= {*texts}):
        form = "{none: [...]}" if is_fold else "{test: [...], none: [...]}"
        raise ValueError(f"split.values must be {form} of {found}; got {named}")
    split_of = dict.fromkeys(named.get(NO_SPLIT, []), NONE)
    if is_fold:
        folds = [text for text in order if text not in split_of]
        if len(folds) != split.n_folds:
            raise ValueError(
                "split.n_folds must be the number of values of split.column, each of which is a fold of "
                f"split.method={split.method}; got {split.n_folds} for {len(folds)}: "
                f"{shorten(', '.join(map(repr, folds)))}"
            )
        tested = [folds[split.fold]]
    elif leaves_out:
        tested = named.get("test", ["1"])
    else:
        said = {name: [text for text in texts if text.strip().lower() == name] for name in ALL_SPLITS}
        split_of = {text: ALL_SPLITS.index(name) for name, group in (named or said).items() for text in group}
        if not {*texts} <= split_of.keys():
            raise ValueError(
                f"split.column must say train, val or test in every row; got {found}\n"
                "Name the values of each: split.values={train: [...], val: [...], test: [...], none: [...]}"
            )
    codes = [split_of.get(text, TEST if text in tested else TRAIN) for text in texts]
    if not {TRAIN, TEST} <= {*codes}:
        raise ValueError(f"split.column must leave rows to train and rows to test; got {found}")
    return np.array(codes, np.int8)


def _as_texts(group: Any, texts: Sequence[str]) -> list[str]:
    """Read the values of a split as they are in the table; YAML takes true, yes and no for booleans."""
    values = [] if group is None else [group] if isinstance(group, str | int | float) else [*group]
    for place, value in enumerate(values):
        if isinstance(value, bool):
            written = [text for text in texts if text.lower() == str(value).lower()]
            if len(written) != 1:
                raise ValueError(f"split.values must be texts; got {value}: write yes, no, true in quotes")
            values[place] = written[0]
    return [*map(str, values)]

"""Stage `split`: say of each row whether it trains, validates or tests."""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from omegaconf import DictConfig
from sklearn.model_selection import train_test_split

from canopy.table.csv import read_table, write_table
from canopy.table.kept import kept_table
from canopy.table.spec import SPLIT_COLUMN, SPLITS

log = logging.getLogger(__name__)


def split_rows(
    labels: NDArray[np.int64], *, test_size: float, val_size: float, seed: int
) -> NDArray[np.int8]:
    """Draw test rows from all rows, then validation rows from what is left, both stratified by class.

    Args:
        labels: Class of each row, shape (n_rows,).
        test_size: Share of all rows that test.
        val_size: Share of the remaining rows that validate.
        seed: Seed of both draws.

    Returns:
        Index into `SPLITS` for each row, shape (n_rows,).

    Raises:
        ValueError: If a share is not between 0 and 1, or a class has too few rows to stand in every
            split.
    """
    for name, size in (("test_size", test_size), ("val_size", val_size)):
        if not 0 < size < 1:
            raise ValueError(f"split.{name} must be between 0 and 1; found {size}")
    values, counts = np.unique(labels, return_counts=True)
    if counts.min() < len(SPLITS):
        raise ValueError(
            f"Each class must have at least {len(SPLITS)} rows, one for each split; found class "
            f"{values[counts.argmin()]} with {counts.min()}"
        )
    codes = np.full(len(labels), SPLITS.index("train"), dtype=np.int8)
    rest, test = _stratified_draw(np.arange(len(labels)), labels, size=test_size, seed=seed)
    _, val = _stratified_draw(rest, labels, size=val_size, seed=seed)
    codes[test], codes[val] = SPLITS.index("test"), SPLITS.index("val")
    for code, split in enumerate(SPLITS):
        absent = np.setdiff1d(values, labels[codes == code])
        if absent.size:
            raise ValueError(
                f"Each class must have a row in every split; found none of class {absent[0]} in {split}: "
                "add rows of that class or change split.test_size or split.val_size"
            )
    return codes


def _stratified_draw(
    rows: NDArray[np.int64], labels: NDArray[np.int64], *, size: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rest, drawn = train_test_split(rows, test_size=size, stratify=labels[rows], random_state=seed)
    return rest, drawn


def run(params: DictConfig) -> None:
    """Add a column that names the split of each row."""
    spec = kept_table(params)
    interim = Path(params.paths.interim)
    table = read_table(interim / "drop_columns.csv", spec)
    present = set(table[spec.target].unique().to_pylist())
    for value, name in spec.classes.items():
        if value not in present:
            raise ValueError(
                f"Each class of table.target.classes must have rows; found none of {value} ({name}): "
                "take it out of params.yaml"
            )
    codes = split_rows(
        table[spec.target].to_numpy(),
        test_size=params.split.test_size,
        val_size=params.split.val_size,
        seed=params.seed,
    )
    sizes = np.bincount(codes, minlength=len(SPLITS))
    log.info("Rows: %s", ", ".join(f"{name} {n:,}" for name, n in zip(SPLITS, sizes, strict=True)))
    names = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(SPLITS))
    table = table.append_column(SPLIT_COLUMN, names.cast(pa.string()))
    write_table(table, interim / "split.csv", description="split")

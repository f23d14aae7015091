"""Stage `make_tensors`: turn the prepared table into tensors and say what they hold."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy.data.dataset import Batch, save_rows
from canopy.data.schema import NORMALIZATION_FILE, SCHEMA_FILE, CategoricalFeature, Schema
from canopy.files import read_json, sha256
from canopy.table.csv import read_table
from canopy.table.kept import kept_table
from canopy.table.spec import SPLIT_COLUMN, SPLITS, OneHotGroup, TableSpec

log = logging.getLogger(__name__)

# Category of the rows that set none of a group's columns, since some were dropped.
OTHER = "other"


def describe(spec: TableSpec) -> Schema:
    """Describe the tensors of a table, counts and hashes left empty."""
    return Schema(
        target=spec.target,
        class_values=tuple(spec.classes),
        class_names=tuple(spec.classes.values()),
        numeric=tuple(column.name for column in spec.numeric),
        categorical=tuple(
            CategoricalFeature(
                name=group.name, categories=(*group.columns, *(() if group.complete else (OTHER,)))
            )
            for group in spec.groups
        ),
        class_counts={},
        sha256={},
    )


def to_tensors(table: pa.Table, spec: TableSpec) -> Batch:
    """Turn checked rows into tensors.

    Args:
        table: The columns of `spec`.
        spec: What they are.

    Returns:
        Numeric columns as float32, one code for each one-hot group (its column's place, or the number
        of columns where none is set), labels as places in `spec.classes`.
    """
    n_rows = table.num_rows
    numeric = np.empty((n_rows, len(spec.numeric)), dtype=np.float32)
    for index, column in enumerate(spec.numeric):
        numeric[:, index] = table[column.name].to_numpy()
    categorical = np.empty((n_rows, len(spec.groups)), dtype=np.int64)
    for index, group in enumerate(spec.groups):
        categorical[:, index] = _codes(table, group)
    values = np.array([*spec.classes])
    order = np.argsort(values)
    labels = order[np.searchsorted(values, table[spec.target].to_numpy(), sorter=order)]
    return Batch(torch.from_numpy(numeric), torch.from_numpy(categorical), torch.from_numpy(labels))


def _codes(table: pa.Table, group: OneHotGroup) -> NDArray[np.int64]:
    codes = np.full(table.num_rows, len(group.columns), dtype=np.int64)
    for code, name in enumerate(group.columns):
        codes[table[name].to_numpy() == 1] = code
    return codes


def run(params: DictConfig) -> None:
    """Write one tensor file for each split, then the schema that names their hashes."""
    spec = kept_table(params)
    processed = Path(params.paths.processed)
    table = read_table(Path(params.paths.interim) / "cap_classes.csv", spec, with_split=True)
    before_cap = read_json(Path(params.paths.reports) / "class_cap.json")["before"]
    counts = {"train_before_cap": tuple(before_cap[name] for name in spec.classes.values())}
    hashes = {NORMALIZATION_FILE: sha256(processed / NORMALIZATION_FILE)}
    for split in SPLITS:
        rows = to_tensors(table.filter(pc.equal(table[SPLIT_COLUMN], split)), spec)
        counts[split] = tuple(torch.bincount(rows.labels, minlength=len(spec.classes)).tolist())
        save_rows(rows, processed / f"{split}.pt")
        hashes[f"{split}.pt"] = sha256(processed / f"{split}.pt")
        log.info("%s: %s rows", split, f"{len(rows.labels):,}")
    schema = replace(describe(spec), class_counts=counts, sha256=hashes)
    schema.save(processed / SCHEMA_FILE)

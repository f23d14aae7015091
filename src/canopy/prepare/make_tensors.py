"""Stage `make_tensors`: turn the prepared table into tensors and say what they hold."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from omegaconf import DictConfig

from canopy.data.dataset import Batch, save_rows
from canopy.data.encoding import describe, encode
from canopy.data.schema import NORMALIZATION_FILE, SCHEMA_FILE
from canopy.files import read_json, sha256
from canopy.table.csv import read_table
from canopy.table.kept import kept_table
from canopy.table.spec import SPLIT_COLUMN, SPLITS, TableSpec

log = logging.getLogger(__name__)

# Steps between the quantiles that the schema holds: at most so many bins for a net's embeddings.
N_QUANTILE_STEPS = 128


def to_tensors(table: pa.Table, spec: TableSpec) -> Batch:
    """Turn checked rows into tensors.

    Args:
        table: The columns of `spec`, normalised.
        spec: What they are.

    Returns:
        Features as `encode` makes them, labels as places in `spec.classes`.
    """
    rows = encode(table, spec)
    targets = table[spec.target]
    labels = pc.index_in(targets, value_set=pa.array([*spec.classes]).cast(targets.type)).to_numpy()
    return Batch(*(torch.from_numpy(array) for array in (*rows, labels.astype(np.int64))))


def quantiles_of(numeric: torch.Tensor) -> tuple[tuple[float, ...], ...]:
    """Give quantiles of each feature in equal steps, from the smallest value to the largest.

    Args:
        numeric: Shape (n_rows, N).

    Returns:
        N times `N_QUANTILE_STEPS` + 1 values that stand in the rows, ascending.
    """
    shares = np.linspace(0, 1, N_QUANTILE_STEPS + 1)
    found = np.quantile(numeric.numpy(), shares, axis=0, method="nearest")
    return tuple(tuple(column) for column in found.T.tolist())


def run(params: DictConfig) -> None:
    """Write one tensor file for each split, then the schema that names their hashes."""
    spec = kept_table(params).filled()
    processed = Path(params.paths.processed)
    table = read_table(Path(params.paths.interim) / "cap_classes.csv", spec, with_split=True)
    before_cap = read_json(Path(params.paths.reports) / "class_cap.json")["before"]
    counts = {"train_before_cap": tuple(before_cap[name] for name in spec.classes.values())}
    hashes = {NORMALIZATION_FILE: sha256(processed / NORMALIZATION_FILE)}
    for split in SPLITS:
        rows = to_tensors(table.filter(pc.equal(table[SPLIT_COLUMN], split)), spec)
        counts[split] = tuple(torch.bincount(rows.labels, minlength=len(spec.classes)).tolist())
        if split == "train":
            quantiles = quantiles_of(rows.numeric)
        save_rows(rows, processed / f"{split}.pt")
        hashes[f"{split}.pt"] = sha256(processed / f"{split}.pt")
        log.info("%s: %s rows", split, f"{len(rows.labels):,}")
    schema = replace(describe(spec), quantiles=quantiles, class_counts=counts, sha256=hashes)
    schema.save(processed / SCHEMA_FILE)

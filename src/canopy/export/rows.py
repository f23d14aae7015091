"""The raw rows of a run's splits, checked against its tensors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from canopy.data.dataset import load_rows
from canopy.files import SPLITS
from canopy.prepare.interim import SPLIT_COLUMN, interim_path, read_codes, table_schema, zip_rows
from canopy.prepare.labels import labelled_rows
from canopy.prepare.preprocessor import Encoded, Inputs
from canopy.runs.run import Run, check_same_data


class RawSplit(NamedTuple):
    """The rows of a split: what the graph and the net read, and the class of each, shape (n_rows,)."""

    inputs: Inputs
    encoded: Encoded
    labels: NDArray[np.int64]


def read_raw(run: Run, *, splits: Sequence[str] = ("val", "test")) -> dict[str, RawSplit]:
    """Read the raw table of a run by split; the tensors of `splits` must be those it was trained with.

    Validation and test rows are compared with their tensors; the training rows are those before any cap.
    """
    config, preprocessor = run.located_config, run.preprocessor
    pipeline, data_folder = config.pipeline, Path(config.data.folder)
    check_same_data(run, data_folder, splits=splits)
    target, classes = pipeline.table.target.column, pa.array(preprocessor.classes)
    labelled = labelled_rows(pipeline.paths.raw, table_schema(pipeline), classes=preprocessor.classes)
    [codes] = read_codes(interim_path(pipeline, "split"), SPLIT_COLUMN)
    parts: dict[str, list[tuple[NDArray[Any], ...]]] = {split: [] for split in SPLITS}
    for batch in zip_rows(labelled, SPLIT_COLUMN, *codes):
        for split, found in parts.items():
            rows = batch.filter(pc.equal(batch[SPLIT_COLUMN], split))
            labels = pc.index_in(rows[target], classes).to_numpy(zero_copy_only=False).astype(np.int64)
            found.append((*preprocessor.inputs(rows), *preprocessor.transform(rows), labels))
    raw = {}
    for split, found in parts.items():
        numeric, codes, *encoded = (np.concatenate(pieces) for pieces in zip(*found, strict=True))
        raw[split] = RawSplit(Inputs(numeric, codes), Encoded(*encoded[:2]), encoded[2])
        if split != "train" and not all(
            map(np.array_equal, encoded, load_rows(data_folder, split, run.schema).rows)
        ):
            raise ValueError(
                f"The raw rows of the split {split}, transformed, must be those of its tensors; got others: "
                'run "make repro", or restore the data of the run'
            )
    return raw

"""Predict rows with a bundle, by ONNX Runtime."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from canopy.cores import usable_cores
from canopy.export.manifest import HINT, ONNX_FILE, OUTPUT, Manifest
from canopy.prepare.preprocessor import Inputs

# What ONNX Runtime says about a file that is no graph, or one that reads files elsewhere.
REFUSED = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented)

# As many rows as the processor's caches hold the layers of.
BATCH_SIZE = 1024


class Scorer:
    """The ONNX graph of a bundle, its files checked; a call uses `n_threads`, 0 for each usable core."""

    def __init__(self, folder: str | Path, *, n_threads: int = 0) -> None:
        self.manifest = Manifest.load(folder)
        self.manifest.check_files(folder)
        self.answers = self.manifest.answers()
        self._session = open_session(Path(folder) / ONNX_FILE, n_threads=n_threads)

    def predict(self, rows: Inputs) -> NDArray[Any]:
        """Give predictions (`canopy.tasks.answers`) for what `Preprocessor.inputs` makes of rows."""
        if not len(rows.numeric):
            return self.answers.empty()
        return run_batches(self._session, rows)


def open_session(path: Path, *, n_threads: int = 0) -> onnxruntime.InferenceSession:
    """Load an ONNX graph for the processor."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads or usable_cores()
    # Between batches the threads would keep their cores busy with waiting.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except REFUSED as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"{path} must be a graph that ONNX Runtime takes; got {reason}: {HINT}") from error


def batches(session: onnxruntime.InferenceSession, rows: Inputs) -> Iterator[dict[str, NDArray[Any]]]:
    """Give the inputs of a graph, some rows after the others; one without columns is not in the graph."""
    names = [found.name for found in session.get_inputs()]
    for start in range(0, len(rows.numeric), BATCH_SIZE):
        batch = rows.take(slice(start, start + BATCH_SIZE))
        yield {name: getattr(batch, name) for name in names}


def run_batches(session: onnxruntime.InferenceSession, rows: Inputs) -> NDArray[Any]:
    """Give the predictions of one row or more, shape (B, K)."""
    parts = [session.run([OUTPUT], batch)[0] for batch in batches(session, rows)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)

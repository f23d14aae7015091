"""Predict rows with a bundle, by ONNX Runtime."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from canopy.cores import usable_cores
from canopy.export.manifest import HINT, MANIFEST_FILE, ONNX_FILE, OUTPUT, Manifest
from canopy.prepare.preprocessor import Inputs

# What ONNX Runtime says about a file that is no graph, or one that reads files elsewhere.
REFUSALS = (
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NotImplemented,
)

# As many rows as the processor's caches hold the layers of.
BATCH_SIZE = 1024


class Scorer:
    """A bundle's ONNX graph, checked and ready.

    Args:
        folder: The bundle.
        n_threads: Threads of one call; 0 for one on each core that may be used.

    Attributes:
        manifest: What the bundle is.

    Raises:
        FileNotFoundError: If one of the files it needs is not there.
        ValueError: If one has been damaged or changed.
    """

    def __init__(self, folder: str | Path, *, n_threads: int = 0) -> None:
        self.manifest = Manifest.load(folder)
        self.manifest.check_files(folder, self.manifest.present)
        path = Path(folder) / ONNX_FILE
        self._session = open_session(path, n_threads=n_threads)
        preprocessor = self.manifest.preprocessor
        widths = {"numeric": len(preprocessor.scalings), "categorical": len(preprocessor.categorical)}
        for found in self._session.get_inputs():
            if found.name not in widths or found.shape[1] != widths[found.name]:
                raise ValueError(
                    f"{path} must have the inputs {widths} of {MANIFEST_FILE}; got {found.name} with "
                    f"{found.shape[1]}: {HINT}"
                )

    def predict(self, rows: Inputs) -> NDArray[np.float32]:
        """Give the probability of each class for some rows.

        Args:
            rows: What `Preprocessor.inputs` makes of checked rows, B of them.

        Returns:
            Probabilities, shape (B, K).
        """
        if not len(rows.numeric):
            return np.empty((0, len(self.manifest.classes)), np.float32)
        return run_batches(self._session, rows)


def open_session(path: Path, *, n_threads: int) -> onnxruntime.InferenceSession:
    """Load an ONNX graph for the processor; 0 threads are one on each core that may be used."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads or usable_cores()
    # Between batches the threads would keep their cores busy with waiting.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except REFUSALS as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"{path} must be a graph that ONNX Runtime takes; got {reason}: {HINT}") from error


def batches(session: onnxruntime.InferenceSession, rows: Inputs) -> Iterator[dict[str, NDArray[Any]]]:
    """Give the inputs of a graph, some rows after the others."""
    # Of those of another exporter, an input without columns may be left out.
    names = [found.name for found in session.get_inputs()]
    for start in range(0, len(rows.numeric), BATCH_SIZE):
        batch = rows.take(slice(start, start + BATCH_SIZE))
        yield {name: getattr(batch, name) for name in names}


def run_batches(session: onnxruntime.InferenceSession, rows: Inputs) -> NDArray[np.float32]:
    """Give the probabilities of one row or more, shape (B, K)."""
    parts = [session.run([OUTPUT], batch)[0] for batch in batches(session, rows)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)

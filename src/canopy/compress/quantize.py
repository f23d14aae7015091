"""Give the matrices of a graph eight bits instead of thirty-two."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from canopy.bundle.graph import quiet
from canopy.bundle.manifest import INPUT
from canopy.bundle.scorer import BATCH_SIZE

# The products with learnt matrices, of which layers consist; all else stays in single precision.
OPERATORS = ["Gemm", "MatMul"]


class Rows(CalibrationDataReader):  # type: ignore[misc]
    """Raw rows for a calibration, batch by batch.

    Args:
        rows: Shape (n_rows, F).
    """

    def __init__(self, rows: NDArray[np.float64]) -> None:
        self._batches: Iterator[NDArray[np.float64]] = iter(
            np.array_split(rows, max(1, len(rows) // BATCH_SIZE))
        )

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def quantize_with_rows(source: Path, target: Path, rows: NDArray[np.float64]) -> None:
    """Quantise weights and what enters them, the ranges of the latter measured beforehand.

    Args:
        source: An ONNX file.
        target: The file to write.
        rows: Raw rows to measure the ranges on, shape (n_rows, F).
    """
    with quiet("root"):
        quantize_static(
            source,
            target,
            Rows(rows),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=OPERATORS,
            nodes_to_exclude=stacks(source),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )


def quantize_as_they_come(source: Path, target: Path) -> None:
    """Quantise weights beforehand and what enters them as it comes, each batch with its own range."""
    with quiet("root"):
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=OPERATORS,
            nodes_to_exclude=stacks(source),
            per_channel=True,
            weight_type=QuantType.QInt8,
        )


def stacks(path: Path) -> list[str]:
    """Name the products with a stack of matrices, as of embeddings; ONNX Runtime has none of bytes."""
    graph = onnx.load(path).graph
    n_axes = {item.name: len(item.dims) for item in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type in OPERATORS and any(n_axes.get(name, 2) > 2 for name in node.input)
    ]

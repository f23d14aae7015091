"""Give the matrices of a graph eight bits instead of thirty-two."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from canopy.export.graph import quiet
from canopy.export.scorer import BATCH_SIZE
from canopy.prepare.preprocessor import Inputs

# The products with learnt matrices, of which layers consist; all else stays in single precision.
OPERATORS = ["Gemm", "MatMul"]


class Rows(CalibrationDataReader):  # type: ignore[misc]
    """Raw rows for a calibration, batch by batch.

    Args:
        rows: The rows.
        names: The graph's inputs.
    """

    def __init__(self, rows: Inputs, names: list[str]) -> None:
        starts = range(0, len(rows.numeric), BATCH_SIZE)
        self._batches: Iterator[Inputs] = (rows.take(slice(start, start + BATCH_SIZE)) for start in starts)
        self._names = names

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {name: getattr(batch, name) for name in self._names}


def quantize_with_rows(source: Path, target: Path, rows: Inputs) -> None:
    """Quantise weights and what enters them, the ranges of the latter measured beforehand.

    Args:
        source: An ONNX file.
        target: The file to write.
        rows: Raw rows to measure the ranges on.
    """
    with quiet("root"):
        quantize_static(
            source,
            target,
            Rows(rows, [found.name for found in onnx.load(source).graph.input]),
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

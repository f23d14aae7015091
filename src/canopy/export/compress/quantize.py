"""Give the matrices of a graph eight bits instead of thirty-two."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnxruntime import quantization
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType

from canopy.export.graph import quiet
from canopy.export.scorer import batches, open_session
from canopy.prepare.preprocessor import Inputs

# The products with learnt matrices, of which layers consist; all else stays in single precision.
OPERATORS = ["Gemm", "MatMul"]


class CalibrationRows(quantization.CalibrationDataReader):  # type: ignore[misc]
    """What the ranges of activations are measured on, as ONNX Runtime reads it."""

    def __init__(self, rows: Iterator[dict[str, Any]]) -> None:
        self._rows = rows

    def get_next(self) -> dict[str, Any] | None:
        return next(self._rows, None)


def quantize_static(source: Path, target: Path, rows: Inputs) -> None:
    """Quantise weights, and what enters layers by ranges that are measured beforehand."""
    measured = CalibrationRows(batches(open_session(source, n_threads=1), rows))
    with quiet():
        quantization.quantize_static(
            source,
            target,
            measured,
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            calibrate_method=CalibrationMethod.MinMax,
            **_layers(source),
        )


def quantize_dynamic(source: Path, target: Path) -> None:
    """Quantise weights beforehand, and what enters layers as it comes, each batch with its own range."""
    with quiet():
        quantization.quantize_dynamic(source, target, **_layers(source))


def _layers(path: Path) -> dict[str, Any]:
    """Choose what is quantised: no products with a stack of matrices, as of embeddings.

    ONNX Runtime has none of bytes.
    """
    graph = onnx.load(path).graph
    n_axes = {item.name: len(item.dims) for item in graph.initializer}
    stacks = [
        node.name
        for node in graph.node
        if node.op_type in OPERATORS and any(n_axes.get(name, 2) > 2 for name in node.input)
    ]
    return {
        "op_types_to_quantize": OPERATORS,
        "nodes_to_exclude": stacks,
        "per_channel": True,
        "weight_type": QuantType.QInt8,
    }

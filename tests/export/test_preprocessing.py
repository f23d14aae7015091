"""The preprocessor in the graph of a bundle: PyTorch, torch.export and ONNX give what the stages give."""

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import Tensor, nn
from torch.export import Dim

from canopy.export.graph import quiet
from canopy.export.preprocessing import Preprocessing
from canopy.prepare.fitting import Fit
from canopy.prepare.preprocessor import Preprocessor
from canopy.prepare.scaling import METHODS
from canopy.schema import TableSchema

NUMBERS = st.floats(-1e6, 1e6, width=32)
TIMES = st.integers(-(2**40), 2**41).map(lambda seconds: seconds * 1_000_000 // 1000)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Preprocessor, pa.RecordBatch]:
    """A table of any schema, and the preprocessor fitted on it."""
    columns, methods, data = {}, {}, {}
    n_rows = draw(st.integers(3, 12))
    for index in range(draw(st.integers(0, 4))):
        name = f"n{index}"
        columns[name] = {
            "kind": "numeric",
            "missing": draw(st.sampled_from(["reject", "median", "mean", "constant"])),
        }
        methods[name] = draw(st.sampled_from(sorted({*METHODS} - {"robust"})))
        varied = st.lists(NUMBERS, min_size=n_rows, max_size=n_rows, unique=True)
        values = draw(varied | NUMBERS.map(lambda value: [value] * n_rows))
        data[name] = pa.array(
            [None, *values[1:]] if columns[name]["missing"] != "reject" else values, pa.float64()
        )
    for index in range(draw(st.integers(0, 2))):
        name = f"d{index}"
        columns[name] = {"kind": "datetime", "missing": draw(st.sampled_from(["reject", "median"]))}
        times = draw(st.lists(TIMES, min_size=n_rows, max_size=n_rows, unique=True))
        values = [None, *times[1:]] if columns[name]["missing"] == "median" else times
        data[name] = pa.array(values, pa.timestamp("us"))
    for index in range(draw(st.integers(0 if columns else 1, 2))):
        name = f"c{index}"
        columns[name] = {"kind": "categorical", "missing": "category"}
        values = draw(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=n_rows, max_size=n_rows))
        data[name] = pa.array(["a", *values[1:]], pa.string())
    rows = pa.RecordBatch.from_pydict(data)
    schema = TableSchema.parse({"target": {"column": "y"}, "columns": columns})
    fit = Fit(schema, methods=methods, seed=0)
    fit.update(rows)
    return fit.preprocessor(("u", "v")), rows


class Both(nn.Module):
    """Preprocessing alone, as one output that ONNX can name."""

    def __init__(self, preprocessor: Preprocessor) -> None:
        super().__init__()
        self.layer = Preprocessing(preprocessor)

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        scaled, codes = self.layer(numeric, categorical)
        return torch.cat([scaled, codes.float()], dim=1)


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables())
def test_the_graph_gives_what_the_stages_give(
    tmp_path: Path, table: tuple[Preprocessor, pa.RecordBatch]
) -> None:
    preprocessor, rows = table
    encoded = preprocessor.transform(rows)
    expected = np.concatenate([encoded.numeric, encoded.categorical.astype(np.float32)], axis=1)
    inputs = preprocessor.inputs(rows)
    tensors = (torch.from_numpy(inputs.numeric), torch.from_numpy(inputs.categorical))
    graph = Both(preprocessor).eval()
    n_rows = {0: Dim("n_rows")}
    with torch.no_grad():
        program = torch.export.export(graph, tensors, dynamic_shapes=(n_rows, n_rows))
        found = {"module": graph(*tensors).numpy(), "program": program.module()(*tensors).numpy()}
    with quiet():
        names = ["numeric", "categorical"]
        onnx = torch.onnx.export(program, dynamo=True, input_names=names, opset_version=20, verbose=False)
    assert onnx is not None
    onnx.save(tmp_path / "graph.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "graph.onnx", providers=["CPUExecutionProvider"])
    # An input without columns is not in the graph.
    wanted = [found_input.name for found_input in session.get_inputs()]
    found["onnx"] = session.run(None, {name: getattr(inputs, name) for name in wanted})[0]
    for name, values in found.items():
        np.testing.assert_allclose(values, expected, rtol=2e-6, atol=1e-6, err_msg=name)

"""The graph of a bundle: from raw rows to probabilities, with everything between inside."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from canopy.export.manifest import INPUTS, OUTPUT
from canopy.export.preprocessing import Preprocessing
from canopy.prepare.preprocessor import Preprocessor
from canopy.tensors import telling_why

OPSET = 20


class RawClassifier(nn.Module):
    """A trained net behind the preprocessor of its data.

    Args:
        model: From numeric features (B, N) and codes (B, C + M) to logits (B, K).
        preprocessor: What was learnt from the training rows.
        temperature: What the logits are divided by.

    Shape:
        - numeric: (B, I), double: raw inputs, NaN where a value is missing. Single precision would round
          integers by more than a bundle may differ from its run
        - categorical: (B, C), int64 codes
        - output: (B, K), probabilities
    """

    def __init__(self, model: nn.Module, preprocessor: Preprocessor, *, temperature: float) -> None:
        super().__init__()
        self.preprocessing = Preprocessing(preprocessor)
        self.model = model
        self.temperature = nn.Buffer(torch.tensor(temperature))

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        logits = self.model(*self.preprocessing(numeric, categorical))
        probabilities: Tensor = (logits / self.temperature).softmax(dim=1)
        return probabilities


def trace(graph: nn.Module, preprocessor: Preprocessor) -> ExportedProgram:
    """Trace a graph for any number of rows."""
    # Two rows: of one alone, the trace would hold for one alone.
    numeric = torch.zeros(2, len(preprocessor.scalings), dtype=torch.float64)
    categorical = torch.zeros(2, len(preprocessor.categorical), dtype=torch.int64)
    n_rows = {0: Dim("n_rows")}
    with torch.no_grad():
        return torch.export.export(graph.eval(), (numeric, categorical), dynamic_shapes=(n_rows, n_rows))


def save_pt2(program: ExportedProgram, path: Path) -> None:
    """Write a trace as torch's own format; nothing in the file is pickled."""
    # They alone would be.
    program.example_inputs = None
    for node in program.graph.nodes:
        # Lines of code and where the project is on this machine.
        node.meta.pop("stack_trace", None)
    with warnings.catch_warnings(), telling_why(path):
        warnings.filterwarnings("ignore", "No complete tensor found in the group")
        torch.export.save(program, path)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep exporters and quantisers from logging each of their steps."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def save_onnx(program: ExportedProgram, path: Path) -> None:
    """Write a trace as one ONNX file."""
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        onnx = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[*INPUTS],
            output_names=[OUTPUT],
            opset_version=OPSET,
            verbose=False,
        )
    assert onnx is not None
    for node in onnx.model.graph:
        # How torch came to it, with the paths of this machine: a fifteenth of the file.
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    onnx.save(path, external_data=False)

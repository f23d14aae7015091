"""The graph of a bundle: from raw rows to probabilities, with everything between inside."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from canopy.bundle.layers import Gaps, GroupCode, ScaledColumns
from canopy.bundle.manifest import INPUT, OUTPUT
from canopy.prepare.normalization import Scaling
from canopy.table.spec import TableSpec
from canopy.tensors import telling_why

OPSET = 20


class RawClassifier(nn.Module):
    """A trained net behind the preparation of its data.

    Args:
        model: From numeric features (B, N) and codes (B, C) to logits (B, K).
        table: The raw table.
        kept: The table that the net was trained on, without the dropped columns.
        scalings: Scaling of each of its numeric columns.
        temperature: What the logits are divided by.

    Shape:
        - rows: (B, F), double: the table's inputs, a missing one as NaN. Raw rows hold whole numbers that
          single precision would round, once they are scaled, by more than a bundle may differ from its run
        - output: (B, K), probabilities
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        table: TableSpec,
        kept: TableSpec,
        scalings: Mapping[str, Scaling],
        temperature: float,
    ) -> None:
        super().__init__()
        features = table.features
        places = [features.index(group.source) for group in table.groups if group.source is not None]
        self.gaps = Gaps(places) if places else None
        self.scaled = ScaledColumns(
            [scalings[column.name] for column in kept.numeric],
            [features.index(column.name) for column in kept.numeric],
        )
        self.groups = nn.ModuleList(GroupCode(group, features) for group in kept.groups)
        self.model = model
        self.register_buffer("temperature", torch.tensor(temperature))

    def forward(self, rows: Tensor) -> Tensor:
        if self.gaps is not None:
            rows = self.gaps(rows)
        codes = [group(rows) for group in self.groups]
        categorical = torch.stack(codes, dim=1) if codes else rows.new_zeros(rows.shape[0], 0).long()
        logits = self.model(self.scaled(rows), categorical)
        probabilities: Tensor = (logits / self.temperature).softmax(dim=1)
        return probabilities


def trace(graph: RawClassifier, *, n_inputs: int) -> ExportedProgram:
    """Trace a graph for any number of rows."""
    # Two rows: of one alone, the trace would hold for one alone.
    example = torch.zeros(2, n_inputs, dtype=torch.float64)
    with torch.no_grad():
        return torch.export.export(graph.eval(), (example,), dynamic_shapes=({0: Dim("n_rows")},))


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
def quiet(*names: str) -> Iterator[None]:
    """Keep loggers from telling each step of an export."""
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def save_onnx(program: ExportedProgram, path: Path) -> None:
    """Write a trace as one ONNX file."""
    with quiet("torch.onnx", "onnxscript", "onnx_ir"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        onnx = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[INPUT],
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

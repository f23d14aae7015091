"""The graph of a bundle: from raw rows to probabilities, with everything between inside."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from canopy.bundle.manifest import INPUT, OUTPUT
from canopy.prepare.normalization import Affine, QuantileNormal, Scaling
from canopy.table.spec import OneHotGroup, TableSpec
from canopy.tensors import telling_why

OPSET = 20


class RawClassifier(nn.Module):
    """A trained net behind the preparation of its data.

    Args:
        model: From numeric features (B, N) and codes (B, C) to logits (B, K).
        features: The columns of a raw row, in their order.
        kept: The table that the net was trained on, without the dropped columns.
        scalings: Scaling of each of its numeric columns.
        temperature: What the logits are divided by.

    Shape:
        - rows: (B, F), double: raw rows hold whole numbers that single precision would round, once they
          are scaled, by more than a bundle may differ from its run
        - output: (B, K), probabilities
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        features: list[str],
        kept: TableSpec,
        scalings: Mapping[str, Scaling],
        temperature: float,
    ) -> None:
        super().__init__()
        self.scaled = ScaledColumns(
            [scalings[column.name] for column in kept.numeric],
            [features.index(column.name) for column in kept.numeric],
        )
        self.groups = nn.ModuleList(GroupCode(group, features) for group in kept.groups)
        self.model = model
        self.register_buffer("temperature", torch.tensor(temperature))

    def forward(self, rows: Tensor) -> Tensor:
        codes = [group(rows) for group in self.groups]
        categorical = torch.stack(codes, dim=1) if codes else rows.new_zeros(rows.shape[0], 0).long()
        logits = self.model(self.scaled(rows), categorical)
        probabilities: Tensor = (logits / self.temperature).softmax(dim=1)
        return probabilities


class ScaledColumns(nn.Module):
    """What each column's scaling does with it, to the last bit.

    All numbers are tensors in double precision: the exporter would round others to single.

    Args:
        scalings: Scaling of each column, N of them.
        places: Place of each column in a raw row.

    Shape:
        - rows: (B, F), double
        - output: (B, N), float
    """

    center: Tensor
    scale: Tensor
    order: Tensor

    def __init__(self, scalings: list[Scaling], places: list[int]) -> None:
        super().__init__()
        affine = [index for index, scaling in enumerate(scalings) if isinstance(scaling, Affine)]
        others = [index for index in range(len(scalings)) if index not in affine]
        self.columns = Columns([places[index] for index in affine])
        for name in ("center", "scale"):
            values = [getattr(scalings[index], name) for index in affine]
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64))
        self.quantile_columns = nn.ModuleList(
            QuantileColumn(scalings[index], places[index])  # type: ignore[arg-type]
            for index in others
        )
        # Where each column stands once the affine ones come first.
        order = torch.tensor(affine + others, dtype=torch.int64).argsort()
        self.register_buffer("order", order)

    def forward(self, rows: Tensor) -> Tensor:
        scaled: Tensor = (self.columns(rows) - self.center) / self.scale
        if not self.quantile_columns:
            return scaled.float()
        parts = [scaled, *(column(rows) for column in self.quantile_columns)]
        return torch.cat(parts, dim=1).index_select(1, self.order).float()


class QuantileColumn(nn.Module):
    """What `QuantileNormal.apply` does with one column: (B, F) to (B, 1), both double."""

    values: Tensor
    normals: Tensor

    def __init__(self, scaling: QuantileNormal, place: int) -> None:
        super().__init__()
        self.place = place
        self.register_buffer("values", torch.tensor(scaling.values, dtype=torch.float64))
        self.register_buffer("normals", torch.tensor(scaling.normals, dtype=torch.float64))

    def forward(self, rows: Tensor) -> Tensor:
        found = rows[:, self.place].clamp(self.values[0], self.values[-1])
        n_below = (found[:, None] >= self.values).sum(dim=1)
        left = (n_below - 1).clamp(0, self.values.shape[0] - 2)
        slope = (self.normals[left + 1] - self.normals[left]) / (self.values[left + 1] - self.values[left])
        return (slope * (found - self.values[left]) + self.normals[left])[:, None]


class Columns(nn.Module):
    """Some columns of the rows: (B, F) to (B, len(places)).

    Args:
        places: Where they stand. Neighbours are cut out at once, which takes less time than picking each.
    """

    places: Tensor

    def __init__(self, places: list[int]) -> None:
        super().__init__()
        first, n_columns = (places[0], len(places)) if places else (0, 0)
        self.slice = slice(first, first + n_columns) if places == [*range(first, first + n_columns)] else None
        self.register_buffer("places", torch.tensor(places, dtype=torch.int64))

    def forward(self, rows: Tensor) -> Tensor:
        found: Tensor = rows.index_select(1, self.places) if self.slice is None else rows[:, self.slice]
        return found


class GroupCode(nn.Module):
    """The code of a one-hot group: the place of the column that is set, their number if none is."""

    codes: Tensor

    def __init__(self, group: OneHotGroup, features: list[str]) -> None:
        super().__init__()
        places = [features.index(name) for name in group.columns]
        self.n_columns = len(places)
        # With the columns between them that were dropped, which count for nothing.
        self.slice = slice(min(places), max(places) + 1)
        codes = torch.zeros(self.slice.stop - self.slice.start, dtype=torch.float64)
        # A column that is set takes away what the code is without it.
        codes[torch.tensor(places) - self.slice.start] = (
            torch.arange(self.n_columns).double() - self.n_columns
        )
        self.register_buffer("codes", codes)

    def forward(self, rows: Tensor) -> Tensor:
        return ((rows[:, self.slice] * self.codes).sum(dim=1) + self.n_columns).long()


def trace(graph: RawClassifier, *, n_features: int) -> ExportedProgram:
    """Trace a graph for any number of rows."""
    # Two rows: of one alone, the trace would hold for one alone.
    example = torch.zeros(2, n_features, dtype=torch.float64)
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

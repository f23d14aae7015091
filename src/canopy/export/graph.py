"""The graph of a bundle: from raw rows to predictions, with everything between inside."""

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from canopy.export.manifest import INPUTS, OUTPUT
from canopy.prepare.preprocessor import Preprocessor
from canopy.prepare.scaling import Affine, Cycle, QuantileNormal, Scaling
from canopy.tensors import telling_why

OPSET = 20


class RawModel(nn.Module):
    """A trained net between the preprocessor of its data and what makes answers of its outputs.

    From raw inputs, (B, I), NaN where a value is missing, and codes, int64, (B, C), to answers, (B, P).
    The inputs are double: single precision would round integers by more than a bundle may differ.
    """

    def __init__(self, model: nn.Module, preprocessor: Preprocessor, *, answer: nn.Module) -> None:
        super().__init__()
        self.preprocessing = Preprocessing(preprocessor)
        self.model, self.answer = model, answer

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        answers: Tensor = self.answer(self.model(*self.preprocessing(numeric, categorical)))
        return answers


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
        # It has the paths of this machine.
        node.meta.pop("stack_trace", None)
    with warnings.catch_warnings(), telling_why(path):
        warnings.filterwarnings("ignore", "No complete tensor found in the group")
        torch.export.save(program, path)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep exporters and quantisers from logging each of their steps."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def save_onnx(program: ExportedProgram, path: Path) -> None:
    """Write a trace as one ONNX file."""
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        onnx = torch.onnx.export(
            program, input_names=INPUTS, output_names=[OUTPUT], opset_version=OPSET, verbose=False
        )
    assert onnx is not None
    for node in onnx.model.graph:
        # They have the paths of this machine, and are a fifteenth of the file.
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    onnx.save(path, external_data=False)


class Preprocessing(nn.Module):
    """What `Preprocessor.transform` does, in double precision: `Preprocessor.inputs` to (B, N), (B, C)."""

    def __init__(self, preprocessor: Preprocessor) -> None:
        super().__init__()
        names, scalings = [*preprocessor.scalings], [*preprocessor.scalings.values()]
        layers: list[nn.Module] = []
        grouped: list[str] = []
        for kind, layer in LAYERS.items():
            if places := [place for place, scaling in enumerate(scalings) if isinstance(scaling, kind)]:
                layers.append(layer(places, [scalings[place] for place in places]))
                grouped += [name for place in places for name in scalings[place].feature_names(names[place])]
        self.layers = nn.ModuleList(layers)
        order = [grouped.index(name) for name in preprocessor.feature_names]
        self.order = None if order == [*range(len(order))] else Columns(order)
        # A datetime column is missing where its parts are.
        parts = {name: f"{name}.{part}" for name, found in preprocessor.datetime.items() for part in found}
        places = [names.index(parts.get(name, name)) for name in preprocessor.indicators]
        self.indicators = Columns(places) if places else None

    def forward(self, numeric: Tensor, categorical: Tensor) -> tuple[Tensor, Tensor]:
        parts = [layer(numeric) for layer in self.layers]
        scaled = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0] if parts else numeric[:, :0]
        if self.order is not None:
            scaled = self.order(scaled)
        if self.indicators is not None:
            missing = self.indicators(numeric).isnan().long()
            categorical = torch.cat([categorical, missing], dim=1)
        return scaled.float(), categorical


class Columns(nn.Module):
    """Some columns of the rows, (B, F) to (B, P); neighbours are cut out at once, which is faster."""

    def __init__(self, places: list[int]) -> None:
        super().__init__()
        cut = slice(places[0], places[0] + len(places))
        self.slice = cut if places == [*range(cut.start, cut.stop)] else None
        self.places = nn.Buffer(torch.tensor(places))

    def forward(self, rows: Tensor) -> Tensor:
        return rows.index_select(1, self.places) if self.slice is None else rows[:, self.slice]


def constant(values: Sequence[float] | float) -> Tensor:
    """Keep numbers in double precision: the exporter would round those that are no tensors to single."""
    return nn.Buffer(torch.tensor(values, dtype=torch.float64))


class FilledColumns(nn.Module):
    """Some columns with their fills, which scalings extend: (B, I) to (B, P)."""

    def __init__(self, places: list[int], scalings: Sequence[Scaling]) -> None:
        super().__init__()
        self.columns = Columns(places)
        self.is_filled = any(scaling.fill is not None for scaling in scalings)
        self.fill = constant([math.nan if scaling.fill is None else scaling.fill for scaling in scalings])

    def forward(self, numeric: Tensor) -> Tensor:
        found: Tensor = self.columns(numeric)
        return torch.where(found.isnan(), self.fill, found) if self.is_filled else found


class AffineColumns(FilledColumns):
    """`Affine.apply` for several columns."""

    def __init__(self, places: list[int], scalings: Sequence[Affine]) -> None:
        super().__init__(places, scalings)
        self.center = constant([scaling.center for scaling in scalings])
        self.scale = constant([scaling.scale for scaling in scalings])

    def forward(self, numeric: Tensor) -> Tensor:
        return (super().forward(numeric) - self.center) / self.scale


class CycleColumns(FilledColumns):
    """`Cycle.apply` for several columns."""

    def __init__(self, places: list[int], scalings: Sequence[Cycle]) -> None:
        super().__init__(places, scalings)
        self.frequency = constant([2 * math.pi / scaling.period for scaling in scalings])
        self.quarter = constant(math.pi / 2)

    def forward(self, numeric: Tensor) -> Tensor:
        angle = super().forward(numeric) * self.frequency
        # ONNX Runtime has no cosine in double precision.
        return torch.stack([angle, angle + self.quarter], dim=2).sin().flatten(1)


class QuantileColumns(FilledColumns):
    """`QuantileNormal.apply` for several columns, whose quantiles are joined in one tensor.

    The interval of a value is found by bisection: the graph is as large for one column as for hundreds, and
    takes memory for the rows alone.
    """

    def __init__(self, places: list[int], scalings: Sequence[QuantileNormal]) -> None:
        super().__init__(places, scalings)
        self.values = constant([value for scaling in scalings for value in scaling.values])
        self.normals = constant([value for scaling in scalings for value in scaling.normals])
        sizes = torch.tensor([len(scaling.values) for scaling in scalings])
        ends = sizes.cumsum(0)
        self.first, self.last = nn.Buffer(ends - sizes), nn.Buffer(ends - 1)
        self.steps = nn.Buffer(2 ** torch.arange(int(sizes.max() - 1).bit_length()).flip(0))

    def forward(self, numeric: Tensor) -> Tensor:
        found = super().forward(numeric)
        found = torch.minimum(torch.maximum(found, self.values[self.first]), self.values[self.last])
        left = self.first.expand(found.shape)
        for step in self.steps:
            further = torch.minimum(left + step, self.last - 1)
            left = torch.where(self.values[further] <= found, further, left)
        slope = (self.normals[left + 1] - self.normals[left]) / (self.values[left + 1] - self.values[left])
        return slope * (found - self.values[left]) + self.normals[left]


# The features are computed in this order, then put in that of the preprocessor.
LAYERS = {Affine: AffineColumns, QuantileNormal: QuantileColumns, Cycle: CycleColumns}

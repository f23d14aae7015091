"""The preprocessor as a layer of a bundle's graph."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from canopy.prepare.preprocessor import Preprocessor
from canopy.prepare.scaling import Affine, Cycle, QuantileNormal, Scaling


class Preprocessing(nn.Module):
    """What `Preprocessor.transform` does with numeric inputs and codes, in double precision.

    Args:
        preprocessor: What was learnt from the training rows.

    Shape:
        - numeric: (B, I), double: the inputs `preprocessor.scalings`, NaN where a value is missing
        - categorical: (B, C), int64 codes of the columns `preprocessor.categorical`
        - output: (B, N), float, and (B, C + M), int64: with M missing-value indicators
    """

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
        # A datetime column is missing where its first part is.
        inputs = [
            name if name in names else f"{name}.{next(iter(preprocessor.datetime[name]))}"
            for name in preprocessor.indicators
        ]
        self.indicators = Columns([names.index(name) for name in inputs]) if inputs else None

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
    """Some columns of the rows: (B, F) to (B, len(places)).

    Args:
        places: Where they are. Neighbours are cut out at once, which takes less time than picking each.
    """

    places: Tensor

    def __init__(self, places: list[int]) -> None:
        super().__init__()
        first, n_columns = (places[0], len(places)) if places else (0, 0)
        self.slice = slice(first, first + n_columns) if places == [*range(first, first + n_columns)] else None
        self.register_buffer("places", torch.tensor(places, dtype=torch.int64))

    def forward(self, rows: Tensor) -> Tensor:
        return rows.index_select(1, self.places) if self.slice is None else rows[:, self.slice]


class FilledColumns(nn.Module):
    """Some columns with their fills, which scalings extend: (B, I) to (B, len(places)).

    All numbers are tensors in double precision: the exporter would round others to single.
    """

    fill: Tensor

    def __init__(self, places: list[int], scalings: Sequence[Scaling]) -> None:
        super().__init__()
        self.columns = Columns(places)
        self.is_filled = any(scaling.fill is not None for scaling in scalings)
        self.keep("fill", [math.nan if scaling.fill is None else scaling.fill for scaling in scalings])

    def keep(self, name: str, values: Sequence[float] | float) -> None:
        self.register_buffer(name, torch.tensor(values, dtype=torch.float64))

    def forward(self, numeric: Tensor) -> Tensor:
        found: Tensor = self.columns(numeric)
        return torch.where(found.isnan(), self.fill, found) if self.is_filled else found


class AffineColumns(FilledColumns):
    """`Affine.apply` for several columns."""

    center: Tensor
    scale: Tensor

    def __init__(self, places: list[int], scalings: Sequence[Affine]) -> None:
        super().__init__(places, scalings)
        self.keep("center", [scaling.center for scaling in scalings])
        self.keep("scale", [scaling.scale for scaling in scalings])

    def forward(self, numeric: Tensor) -> Tensor:
        return (super().forward(numeric) - self.center) / self.scale


class CycleColumns(FilledColumns):
    """`Cycle.apply` for several columns."""

    frequency: Tensor
    quarter: Tensor

    def __init__(self, places: list[int], scalings: Sequence[Cycle]) -> None:
        super().__init__(places, scalings)
        self.keep("frequency", [2 * math.pi / scaling.period for scaling in scalings])
        self.keep("quarter", math.pi / 2)

    def forward(self, numeric: Tensor) -> Tensor:
        angle = super().forward(numeric) * self.frequency
        # ONNX Runtime has no cosine in double precision.
        return torch.stack([angle, angle + self.quarter], dim=2).sin().flatten(1)


class QuantileColumns(FilledColumns):
    """`QuantileNormal.apply` for several columns.

    Their quantiles are joined in one tensor, column after column. The interval of a value is found by
    bisection: the graph is as large for one column as for hundreds, and takes memory for the rows alone.
    """

    values: Tensor
    normals: Tensor
    first: Tensor
    last: Tensor
    steps: Tensor

    def __init__(self, places: list[int], scalings: Sequence[QuantileNormal]) -> None:
        super().__init__(places, scalings)
        self.keep("values", [value for scaling in scalings for value in scaling.values])
        self.keep("normals", [value for scaling in scalings for value in scaling.normals])
        sizes = torch.tensor([len(scaling.values) for scaling in scalings])
        ends = sizes.cumsum(0)
        self.register_buffer("first", ends - sizes)
        self.register_buffer("last", ends - 1)
        n_steps = int(sizes.max() - 1).bit_length()
        self.register_buffer("steps", 2 ** torch.arange(n_steps).flip(0))

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

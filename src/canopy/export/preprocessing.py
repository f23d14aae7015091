"""The preprocessor as a layer of a bundle's graph."""

import math

import torch
from torch import Tensor, nn

from canopy.prepare.preprocessor import Preprocessor
from canopy.prepare.scaling import Affine, Cycle, QuantileNormal


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
        affine = {i: scaling for i, scaling in enumerate(scalings) if isinstance(scaling, Affine)}
        cycles = {i: scaling for i, scaling in enumerate(scalings) if isinstance(scaling, Cycle)}
        quantiles = {i: scaling for i, scaling in enumerate(scalings) if isinstance(scaling, QuantileNormal)}
        layers: list[nn.Module] = []
        if affine:
            layers.append(AffineColumns([*affine], [*affine.values()]))
        if quantiles:
            layers.append(QuantileColumns([*quantiles], [*quantiles.values()]))
        if cycles:
            layers.append(CycleColumns([*cycles], [*cycles.values()]))
        self.layers = nn.ModuleList(layers)
        # Where each feature is once they are grouped by layer.
        grouped = [scalings[i].feature_names(names[i]) for i in (*affine, *quantiles)]
        found = [name for features in grouped for name in features]
        pairs = [scalings[i].feature_names(names[i]) for i in cycles]
        found += [sine for sine, _ in pairs] + [cosine for _, cosine in pairs]
        order = [found.index(name) for name in preprocessor.feature_names]
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


class Filled(nn.Module):
    """Some columns with their fills: (B, I) to (B, len(places)).

    All numbers are tensors in double precision: the exporter would round others to single.
    """

    fill: Tensor

    def __init__(self, places: list[int], fills: list[float | None]) -> None:
        super().__init__()
        self.columns = Columns(places)
        self.is_filled = any(fill is not None for fill in fills)
        values = [math.nan if fill is None else fill for fill in fills]
        self.register_buffer("fill", torch.tensor(values, dtype=torch.float64))

    def forward(self, numeric: Tensor) -> Tensor:
        found: Tensor = self.columns(numeric)
        return torch.where(found.isnan(), self.fill, found) if self.is_filled else found


class AffineColumns(nn.Module):
    """`Affine.apply` for several columns."""

    center: Tensor
    scale: Tensor

    def __init__(self, places: list[int], scalings: list[Affine]) -> None:
        super().__init__()
        self.filled = Filled(places, [scaling.fill for scaling in scalings])
        for name in ("center", "scale"):
            values = [getattr(scaling, name) for scaling in scalings]
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64))

    def forward(self, numeric: Tensor) -> Tensor:
        scaled: Tensor = (self.filled(numeric) - self.center) / self.scale
        return scaled


class CycleColumns(nn.Module):
    """`Cycle.apply` for several columns: all sines, then all cosines."""

    frequency: Tensor
    quarter: Tensor

    def __init__(self, places: list[int], scalings: list[Cycle]) -> None:
        super().__init__()
        self.filled = Filled(places, [scaling.fill for scaling in scalings])
        frequencies = [2 * math.pi / scaling.period for scaling in scalings]
        self.register_buffer("frequency", torch.tensor(frequencies, dtype=torch.float64))
        self.register_buffer("quarter", torch.tensor(math.pi / 2, dtype=torch.float64))

    def forward(self, numeric: Tensor) -> Tensor:
        angle = self.filled(numeric) * self.frequency
        # ONNX Runtime has no cosine in double precision.
        return torch.cat([angle, angle + self.quarter], dim=1).sin()


class QuantileColumns(nn.Module):
    """`QuantileNormal.apply` for several columns.

    Their quantiles are joined in one tensor, column after column. The interval of a value is found by
    bisection: the graph is as large for one column as for hundreds, and takes memory for the rows alone.
    """

    values: Tensor
    normals: Tensor
    first: Tensor
    last: Tensor
    steps: Tensor

    def __init__(self, places: list[int], scalings: list[QuantileNormal]) -> None:
        super().__init__()
        self.filled = Filled(places, [scaling.fill for scaling in scalings])
        for name in ("values", "normals"):
            joined = [value for scaling in scalings for value in getattr(scaling, name)]
            self.register_buffer(name, torch.tensor(joined, dtype=torch.float64))
        sizes = torch.tensor([len(scaling.values) for scaling in scalings])
        ends = sizes.cumsum(0)
        self.register_buffer("first", ends - sizes)
        self.register_buffer("last", ends - 1)
        n_steps = int(sizes.max() - 1).bit_length()
        self.register_buffer("steps", 2 ** torch.arange(n_steps).flip(0))

    def forward(self, numeric: Tensor) -> Tensor:
        found = self.filled(numeric)
        found = torch.minimum(torch.maximum(found, self.values[self.first]), self.values[self.last])
        left = self.first.expand(found.shape)
        for step in self.steps:
            further = torch.minimum(left + step, self.last - 1)
            left = torch.where(self.values[further] <= found, further, left)
        slope = (self.normals[left + 1] - self.normals[left]) / (self.values[left + 1] - self.values[left])
        normal: Tensor = slope * (found - self.values[left]) + self.normals[left]
        return normal


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
        found: Tensor = rows.index_select(1, self.places) if self.slice is None else rows[:, self.slice]
        return found

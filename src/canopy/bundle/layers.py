"""The preparation of raw rows as layers of a graph: what the stages and the encoding do, to the last bit."""

import torch
from torch import Tensor, nn

from canopy.prepare.normalization import Affine, QuantileNormal, Scaling
from canopy.table.columns import OneHotGroup


class Gaps(nn.Module):
    """Tell which numbers are missing, in the columns that follow the inputs in a table's features.

    Args:
        places: Where the numbers stand that may be missing, G of them.

    Shape:
        - rows: (B, F), double
        - output: (B, F + 2 G): the rows, and for each number 1, 0 where it is there and 0, 1 where it is not
    """

    def __init__(self, places: list[int]) -> None:
        super().__init__()
        self.columns = Columns(places)

    def forward(self, rows: Tensor) -> Tensor:
        missing = self.columns(rows).isnan().to(rows.dtype)
        return torch.cat([rows, torch.stack([1 - missing, missing], dim=2).flatten(1)], dim=1)


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
    fill: Tensor
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
        fills = [scalings[index].fill for index in affine]
        self.has_fill = any(fill is not None for fill in fills)
        # What is never missing is never filled.
        self.register_buffer("fill", torch.tensor([fill or 0.0 for fill in fills], dtype=torch.float64))
        # Where each column stands once the affine ones come first.
        order = torch.tensor(affine + others, dtype=torch.int64).argsort()
        self.register_buffer("order", order)

    def forward(self, rows: Tensor) -> Tensor:
        # Torch cannot write constants without elements.
        parts = [self._scale(rows)] if len(self.scale) else []
        parts += [column(rows) for column in self.quantile_columns]
        if len(parts) == 1:
            return parts[0].float()
        if not parts:
            return rows.new_zeros(rows.shape[0], 0).float()
        return torch.cat(parts, dim=1).index_select(1, self.order).float()

    def _scale(self, rows: Tensor) -> Tensor:
        found = self.columns(rows)
        if self.has_fill:
            found = torch.where(found.isnan(), self.fill, found)
        scaled: Tensor = (found - self.center) / self.scale
        return scaled


class QuantileColumn(nn.Module):
    """What `QuantileNormal.apply` does with one column: (B, F) to (B, 1), both double."""

    values: Tensor
    normals: Tensor

    def __init__(self, scaling: QuantileNormal, place: int) -> None:
        super().__init__()
        self.place, self.fill = place, scaling.fill
        self.register_buffer("values", torch.tensor(scaling.values, dtype=torch.float64))
        self.register_buffer("normals", torch.tensor(scaling.normals, dtype=torch.float64))

    def forward(self, rows: Tensor) -> Tensor:
        found = rows[:, self.place]
        if self.fill is not None:
            found = torch.where(found.isnan(), torch.full_like(found, self.fill), found)
        found = found.clamp(self.values[0], self.values[-1])
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

"""The columns of a table in a net's inputs: which inputs belong to each, and its values in its unit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from canopy.data.dataset import Batch
from canopy.explore.wording import moment
from canopy.prepare.preprocessor import Preprocessor
from canopy.prepare.reductions import Floats
from canopy.prepare.scaling import Affine, Cycle, Scaling
from canopy.schema import TableSchema

# What a category that no training row had is called.
UNSEEN = "unseen in training"

# Gives predictions, shape (B, K), from numbers, (B, N), and codes, (B, C).
Predict = Callable[[Tensor, Tensor], NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A feature column of the table.

    Attributes:
        kind: numeric, categorical or datetime; a datetime column without the part `time` is shown by its
            first part, as a number.
        numeric: All its places among the numeric inputs; those of a datetime column's parts together.
        codes: All its places among the categorical inputs, that of its missing-value indicator last.
        categories: Value and name of each code.
        has_missing: Whether the last of them is that of missing values.
        scaling: Of its number, at the places `shown` of the numeric inputs.
        has_indicator: Whether it has a missing-value indicator; without one, missing values are as filled in.
    """

    name: str
    kind: str
    meaning: str = ""
    unit: str = ""
    numeric: tuple[int, ...] = ()
    codes: tuple[int, ...] = ()
    categories: tuple[tuple[str, str], ...] = ()
    has_missing: bool = False
    scaling: Scaling | None = None
    shown: tuple[int, ...] = ()
    has_indicator: bool = False

    def values(self, rows: Batch) -> Floats:
        """Give the table's values, shape (n_rows,): numbers, days since 1970 or codes; NaN if missing."""
        if self.scaling is None:
            return rows.categorical[:, self.codes[0]].numpy().astype(np.float64)
        inputs = rows.numeric[:, self.shown].numpy().astype(np.float64)
        values = self.scaling.invert(inputs)
        if self.kind == "datetime" and isinstance(self.scaling, Affine):
            # To the minute, as `text` writes it.
            values = np.round((inputs[:, 0] * self.scaling.scale + self.scaling.center) * 1440) / 1440
        if isinstance(self.scaling, Cycle) and self.unit == "month":
            values = np.where(values < 0.5, values + 12, values)
        if self.has_indicator:
            values = np.where(rows.categorical[:, self.codes[-1]].numpy() == 1, np.nan, values)
        return values

    def text(self, value: float) -> str | float | None:
        """Give one of `values` as people write it: name of a category, date, number; None if missing."""
        if self.kind == "categorical":
            names = [value if value == name else f"{name} ({value})" for value, name in self.categories]
            return [*names, UNSEEN][min(int(value), len(names))]
        if np.isnan(value):
            return None
        return moment(value) if self.kind == "datetime" else float(value)


def table_features(preprocessor: Preprocessor, schema: TableSchema) -> list[Feature]:
    """Find the features of a model, in the order of its inputs."""
    places: dict[str, tuple[int, ...]] = {}
    start, n_categorical = 0, len(preprocessor.categorical)
    for name, scaling in preprocessor.scalings.items():
        end = start + len(scaling.feature_names(name))
        places[name], start = (*range(start, end),), end
    indicators = {name: (n_categorical + i,) for i, name in enumerate(preprocessor.indicators)}
    parts = {name: [f"{name}.{part}" for part in found] for name, found in preprocessor.datetime.items()}
    parts |= {name: [name] for name in preprocessor.numeric}
    features: list[Feature] = []
    own: dict[str, Any]
    for name in (*preprocessor.numeric, *preprocessor.categorical, *preprocessor.datetime):
        column = schema.columns[name]
        if name in preprocessor.categorical:
            vocabulary, listed = preprocessor.categorical[name], getattr(column, "listed", None) or {}
            own = {
                "codes": ([*preprocessor.categorical].index(name),),
                "categories": tuple((value, listed.get(value) or value) for value in vocabulary.names),
                "has_missing": vocabulary.has_missing,
            }
        else:
            shown = f"{name}.time" if f"{name}.time" in parts[name] else parts[name][0]
            own = {
                "unit": getattr(column, "unit", shown.removeprefix(f"{name}.")),
                "numeric": tuple(place for part in parts[name] for place in places[part]),
                "codes": indicators.get(name, ()),
                "scaling": preprocessor.scalings[shown],
                "shown": places[shown],
                "has_indicator": name in indicators,
            }
        kind = column.kind
        if kind == "datetime":
            kind, own["unit"] = ("datetime", "") if own["unit"] == "time" else ("numeric", own["unit"])
        features.append(Feature(name=name, kind=kind, meaning=column.meaning, **own))
    return features


def take(rows: Batch, places: Sequence[int] | NDArray[np.integer[Any]]) -> Batch:
    """Copy some rows."""
    index = torch.as_tensor(np.asarray(places, np.int64))
    return Batch(*(part[index] for part in rows))


def with_inputs(rows: Batch, feature: Feature, donors: Batch) -> Batch:
    """Give rows whose inputs of a feature, all together, are those of `donors`: as many rows, or one."""
    numeric, categorical = rows.numeric.clone(), rows.categorical.clone()
    numeric[:, feature.numeric] = donors.numeric[:, feature.numeric]
    categorical[:, feature.codes] = donors.categorical[:, feature.codes]
    return Batch(numeric, categorical, rows.labels)

"""From checked rows to what a net takes: the one preprocessor of stages, predictions, export and server."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ValidationError

from canopy.files import read_json, write_json
from canopy.names import shorten
from canopy.prepare.reductions import Floats
from canopy.prepare.scaling import Scaling, TargetScaling, as_floats, datetime_parts, scale_target
from canopy.schema import TableSchema
from canopy.schema.columns import Ignored, Model

FORMAT = 2

# The category of values that were rare or absent on the training rows.
OTHER = "other"
MISSING = "missing"


class Vocabulary(Model):
    """The categories of a column; the code of each is its place."""

    # In the file; `OTHER` is among them if training rows had rare values.
    values: tuple[str, ...]
    # Whether missing values are a category, with the last code.
    has_missing: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.values, MISSING) if self.has_missing else self.values

    def encode(self, texts: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Find the code of each value, and whether it is unseen, both of shape (n_rows,).

        An unseen value has the code of `OTHER` if there is one, otherwise `len(names)`, for which nets have
        no parameters.
        """
        values = pa.array(self.values, pa.string())
        codes = pc.index_in(texts, values)
        present = pc.is_valid(texts)
        if pc.any(pc.and_(pc.is_null(codes), present)).as_py():
            integers = pc.replace_substring_regex(texts, r"^([+-]?\d+)\.0*$", r"\1")
            codes = pc.coalesce(codes, pc.index_in(integers, values))
        unseen = pc.and_(pc.is_null(codes), present).to_numpy(zero_copy_only=False)
        n_codes = len(self.names)
        missing = n_codes - 1 if self.has_missing else n_codes
        known = pc.fill_null(codes, missing).to_numpy(zero_copy_only=False).astype(np.int64)
        known[unseen] = self.values.index(OTHER) if OTHER in self.values else n_codes
        return known, unseen


class Encoded(NamedTuple):
    """Numeric features, shape (B, N), and codes of the categorical features, shape (B, C), of some rows."""

    numeric: NDArray[np.float32]
    categorical: NDArray[np.int64]


class Inputs(NamedTuple):
    """What a bundle's graph reads: numbers in their units, NaN where missing, (B, I), and codes, (B, C)."""

    numeric: Floats
    categorical: NDArray[np.int64]

    def take(self, rows: slice | NDArray[np.int64]) -> "Inputs":
        return Inputs(self.numeric[rows], self.categorical[rows])


class Preprocessor(Model):
    """What `canopy.prepare.fitting.Fit` learnt from the training rows.

    Numeric features (`feature_names`) are the numeric columns, then the parts of the datetime columns;
    categorical ones (`categories`) the categorical columns, then the missing-value `indicators`.
    """

    numeric: dict[str, Scaling]
    # By column and part.
    datetime: dict[str, dict[str, Scaling]]
    categorical: dict[str, Vocabulary]
    # Columns with a missing-value indicator.
    indicators: tuple[str, ...]
    # Values in the file, in the order of the model's outputs; none of a numeric target, which has a scaling.
    classes: tuple[str, ...]
    target: TargetScaling | None = None

    @property
    def scalings(self) -> dict[str, Scaling]:
        """Scaling of each numeric input: numeric columns, then `column.part` of datetime columns."""
        times = self.datetime.items()
        parts = {f"{name}.{part}": scaling for name, found in times for part, scaling in found.items()}
        return {**self.numeric, **parts}

    @property
    def feature_names(self) -> list[str]:
        """Names of the numeric features; a cyclic part gives two."""
        return [feature for name, scaling in self.scalings.items() for feature in scaling.feature_names(name)]

    @property
    def categories(self) -> dict[str, tuple[str, ...]]:
        """Names of the categories of each categorical feature."""
        categories = {name: vocabulary.names for name, vocabulary in self.categorical.items()}
        return categories | dict.fromkeys(self.indicator_names.values(), ("no", "yes"))

    @property
    def indicator_names(self) -> dict[str, str]:
        """Name of each missing-value indicator; a table may have a column `age_missing` of its own."""
        return {name: f"{name} (missing)" for name in self.indicators}

    def restrict(self, schema: TableSchema) -> TableSchema:
        """Describe the rows that predictions need: weights and unused features are ignored."""
        used = {*self.numeric, *self.datetime, *self.categorical}
        unused = {name: Ignored() for name in schema.features if name not in used}
        unused |= {name: Ignored() for name, column in schema.columns.items() if column.kind == "weight"}
        return schema.model_copy(update={"columns": {**schema.columns, **unused}})

    def _numeric_inputs(self, rows: pa.RecordBatch) -> dict[str, Floats]:
        times = {name: datetime_parts(rows[name]) for name in self.datetime}
        parts = {
            f"{name}.{part}": times[name][part] for name, found in self.datetime.items() for part in found
        }
        return {name: as_floats(rows[name]) for name in self.numeric} | parts

    def inputs(self, rows: pa.RecordBatch) -> Inputs:
        """Give what the graph of a bundle reads of checked rows."""
        numeric = [*self._numeric_inputs(rows).values()]
        codes = [vocabulary.encode(rows[name])[0] for name, vocabulary in self.categorical.items()]
        return Inputs(
            np.column_stack(numeric) if numeric else np.empty((rows.num_rows, 0)),
            np.column_stack(codes) if codes else np.empty((rows.num_rows, 0), np.int64),
        )

    def count_unseen(self, rows: pa.RecordBatch) -> dict[str, int]:
        """Count the values of each categorical column that the training rows did not have."""
        found = {name: vocabulary.encode(rows[name])[1] for name, vocabulary in self.categorical.items()}
        return {name: int(unseen.sum()) for name, unseen in found.items() if unseen.any()}

    def scale(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Scale the numeric features of checked rows (`canopy.tables.parse.Parsed`) to single precision.

        Categories stay text; missing-value indicators, 0 and 1, follow them, then the other columns.
        """
        inputs = self._numeric_inputs(rows)
        columns: dict[str, pa.Array] = {}
        for name, scaling in self.scalings.items():
            with np.errstate(over="ignore"):
                scaled = [pa.array(values.astype(np.float32)) for values in scaling.apply(inputs[name])]
            columns |= dict(zip(scaling.feature_names(name), scaled, strict=True))
        columns |= {name: rows[name] for name in self.categorical}
        for name, indicator in self.indicator_names.items():
            columns[indicator] = pc.is_null(rows[name]).cast(pa.int8())
        others = [name for name in rows.schema.names if name not in {*self.numeric, *self.datetime, *columns}]
        return pa.RecordBatch.from_pydict(columns | {name: rows[name] for name in others})

    def labels(self, values: pa.Array) -> NDArray[Any]:
        """Turn values of the target into what tensors hold, (n_rows,): class indices or scaled numbers."""
        if self.target is not None:
            return scale_target(self.target, as_floats(values)).astype(np.float32)
        codes = pc.index_in(values, pa.array(self.classes, pa.string()))
        return np.asarray(codes.to_numpy(zero_copy_only=False), np.int64)

    def encode(self, scaled: pa.RecordBatch) -> Encoded:
        """Turn rows that `scale` returned into arrays."""
        numeric = np.empty((scaled.num_rows, len(self.feature_names)), np.float32)
        for index, name in enumerate(self.feature_names):
            numeric[:, index] = scaled[name].to_numpy(zero_copy_only=False)
        categorical = np.empty((scaled.num_rows, len(self.categories)), np.int64)
        for index, (name, vocabulary) in enumerate(self.categorical.items()):
            categorical[:, index], _ = vocabulary.encode(scaled[name])
        for index, name in enumerate(self.indicator_names.values(), start=len(self.categorical)):
            categorical[:, index] = scaled[name].to_numpy(zero_copy_only=False)
        return Encoded(numeric, categorical)

    def transform(self, rows: pa.RecordBatch) -> Encoded:
        """Turn checked rows into arrays; the bits are those of the tensors that the stages make."""
        return self.encode(self.scale(rows))

    def save(self, path: str | Path) -> None:
        write_json(path, {"format": FORMAT, **self.model_dump(exclude_none=True)})

    @classmethod
    def load(cls, path: str | Path) -> "Preprocessor":
        content = read_json(path)
        if content.pop("format", None) != FORMAT:
            raise ValueError(f'{path} must have the format {FORMAT}; run "make repro"')
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise ValueError(f'{path} is damaged: {shorten(error)}; run "make repro"') from error

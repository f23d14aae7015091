"""Check rows against a schema: the one validator of stages, predictions and the server."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from canopy.schema.columns import Categorical, Column, Datetime, Numeric
from canopy.schema.table import TableSchema
from canopy.tables.convert import Bools, to_bits, to_numbers, to_texts, to_times
from canopy.tables.problems import N_SHOWN

# Nets compute in single precision.
LARGEST = float(np.finfo(np.float32).max)


class Violation(NamedTuple):
    """Rows, ascending, whose value in a column is not what it must be, and the first of these values."""

    column: str
    # Such as `be a number`.
    requirement: str
    rows: NDArray[np.int64]
    values: Sequence[str]


@dataclass
class Parsed:
    """Checked rows, and what is wrong with some; the values there are null.

    They have the features in the order of the schema (numeric: double; categorical: text; datetime:
    timestamp), then the keys and, where it was read, the target as text.
    """

    rows: pa.RecordBatch
    violations: list[Violation]

    @property
    def valid(self) -> Bools:
        """Whether each row has no violation."""
        valid = np.ones(self.rows.num_rows, bool)
        for violation in self.violations:
            valid[violation.rows] = False
        return valid

    def valid_rows(self) -> pa.RecordBatch:
        return self.rows.filter(pa.array(self.valid)) if self.violations else self.rows


def parse(
    batch: pa.RecordBatch, schema: TableSchema, *, with_target: bool, n_shown: int | None = N_SHOWN
) -> Parsed:
    """Check rows, as text or typed, and convert them to the types of their columns.

    A column under its own name may take the place of its 0/1 columns, whose names are its values then. Of
    each violation `n_shown` values are given, all if None.
    """
    check = _Check(batch, schema, n_shown)
    columns: dict[str, pa.Array] = {}
    for name, column in schema.columns.items():
        if isinstance(column, Numeric | Categorical | Datetime):
            columns[name] = getattr(check, column.kind)(name, column)
    columns |= {name: to_texts(batch[name], schema.columns[name], schema.file) for name in schema.keys}
    if with_target:
        columns[schema.target.column] = check.target()
    return Parsed(pa.RecordBatch.from_pydict(columns), check.violations)


class _Check:
    def __init__(self, batch: pa.RecordBatch, schema: TableSchema, n_shown: int | None) -> None:
        self.batch, self.schema, self.file = batch, schema, schema.file
        self.n_shown = n_shown
        self.violations: list[Violation] = []

    def numeric(self, name: str, column: Numeric) -> pa.Array:
        values, invalid = to_numbers(self.batch[name], column, self.file)
        numbers = values.to_numpy(zero_copy_only=False)
        self._report(name, "be a number", invalid)
        invalid |= self._report(name, "be a finite number", np.isinf(numbers))
        invalid |= self._report(name, "fit into single precision", (np.abs(numbers) > LARGEST) & ~invalid)
        outside = ((numbers < column.low) | (numbers > column.high)) & ~invalid
        if outside.any():
            match column.out_of_range:
                case "clip":
                    values = pa.array(np.clip(numbers, column.low, column.high), from_pandas=True)
                case "missing":
                    values = _without(values, outside)
                case _:
                    form = f"be from {column.low:g} to {column.high:g} {column.unit}".rstrip()
                    invalid |= self._report(name, form, outside)
        return self._without_missing(name, _without(values, invalid), column, invalid)

    def categorical(self, name: str, column: Categorical) -> pa.Array:
        if column.one_hot is not None and name not in self.batch.schema.names:
            return self._one_hot(name, column, [*column.one_hot])
        is_closed = column.unseen == "reject" or column.one_hot is not None
        return self._texts(name, column, column.listed if is_closed else None)

    def datetime(self, name: str, column: Datetime) -> pa.Array:
        values, invalid = to_times(self.batch[name], column, self.file)
        form = f"time in the format {column.format}" if column.format != "iso" else "date or time by ISO 8601"
        self._report(name, f"be a {form}", invalid)
        return self._without_missing(name, values, column, invalid)

    def target(self) -> pa.Array:
        target = self.schema.target
        return self._texts(target.column, target, None if target.classes == "auto" else target.classes)

    def _texts(self, name: str, column: Column, listed: Iterable[str] | None) -> pa.Array:
        """Keep the listed texts, all if None; 2.0 is the value 2."""
        texts = to_texts(self.batch[name], column, self.file)
        unlisted = np.zeros(len(texts), bool)
        if listed is not None:
            known = pa.array([*listed, None], pa.string())
            if not pc.all(pc.is_in(texts, known)).as_py():
                texts = pc.replace_substring_regex(texts, r"^([+-]?\d+)\.0*$", r"\1")
                unlisted = ~pc.is_in(texts, known).to_numpy(zero_copy_only=False)
                shown = [*map(repr, listed)]
                form = ", ".join([*shown[:N_SHOWN], *["..."] * (len(shown) > N_SHOWN)])
                self._report(name, f"be one of {form}", unlisted)
        return self._without_missing(name, _without(texts, unlisted), column, unlisted)

    def _one_hot(self, name: str, column: Categorical, names: list[str]) -> pa.Array:
        n_set, codes = np.zeros((2, self.batch.num_rows), np.int32)
        invalid = np.zeros(self.batch.num_rows, bool)
        for code, part in enumerate(names):
            is_set = to_bits(self.batch[part])
            if is_set is None:
                numeric = Numeric(null_values=column.null_values)
                values, wrong = to_numbers(self.batch[part], numeric, self.file)
                numbers = values.to_numpy(zero_copy_only=False)
                wrong |= (numbers != 1) & (numbers != 0)
                invalid |= self._report(part, "be 0 or 1", wrong)
                is_set = numbers == 1
            codes += is_set * np.int32(code)
            n_set += is_set
        several = (n_set > 1) & ~invalid
        shown = [*map(str, n_set[several][: self.n_shown])]
        invalid |= self._report(name, "have exactly one column that is 1", several, shown)
        texts = pa.array(names).take(pa.array(codes, mask=(n_set != 1) | invalid))
        return self._without_missing(name, texts, column, invalid)

    def _without_missing(self, name: str, values: pa.Array, column: Column, invalid: Bools) -> pa.Array:
        if values.null_count and getattr(column, "missing", None) == "reject":
            missing = values.is_null().to_numpy(zero_copy_only=False) & ~invalid
            self._report(name, "have a value in every row", missing, ["none"] * int(missing.sum()))
        return values

    def _report(self, name: str, form: str, wrong: Bools, values: Sequence[str] | None = None) -> Bools:
        """Keep what is wrong with a column, if anything is, and give it back."""
        if wrong.any():
            rows = np.flatnonzero(wrong)
            if values is None:
                found = self.batch[name].take(pa.array(rows[: self.n_shown])).to_pylist()
                values = [text if len(text) <= 60 else f"{text[:57]}..." for text in map(repr, found)]
            self.violations.append(Violation(name, form, rows, values))
        return wrong


def _without(values: pa.Array, wrong: Bools) -> pa.Array:
    return pc.if_else(pa.array(wrong), None, values) if wrong.any() else values

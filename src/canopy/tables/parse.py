"""Check rows against a schema, for stages, predictions and the server; collect what is wrong with them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from canopy.schema.columns import Categorical, Column, Datetime, Numeric, Weight
from canopy.schema.table import TableSchema
from canopy.tables.convert import Bools, to_bits, to_numbers, to_texts, to_times

# Nets compute in single precision.
LARGEST = float(np.finfo(np.float32).max)
# Of each kind of problem, so many are shown.
N_SHOWN = 10


class Violation(NamedTuple):
    """Rows, ascending, whose value in a column is not what it must be, and the first of these values."""

    column: str
    requirement: str
    rows: NDArray[np.int64]
    values: Sequence[str]


class Problem(NamedTuple):
    """A value that is not what it must be or have, in a line from 1; or a whole line, in no column."""

    file: str
    line: int
    column: str
    requirement: str
    value: str


@dataclass
class Problems:
    """What is wrong with the rows of a table: how many of each kind, `n_shown` (all if None) with lines."""

    n_shown: int | None = N_SHOWN
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    shown: list[Problem] = field(default_factory=list)

    def count(self, column: str, requirement: str, n: int) -> int | None:
        """Count further problems of a kind; gives how many of them are to be shown, None for all."""
        self.counts[column, requirement] += n
        n_before = self.counts[column, requirement] - n
        return None if self.n_shown is None else max(0, self.n_shown - n_before)

    def add_lines(self, problems: Iterable[Problem]) -> None:
        """Add lines of a file that do not have the form of the table."""
        self.shown += [problem for problem in problems if self.count("", problem.requirement, 1) != 0]

    def merge(self, other: "Problems") -> None:
        """Add what is wrong with the rows of a further file."""
        for (column, requirement), n in other.counts.items():
            n_free = self.count(column, requirement, n)
            kind = [problem for problem in other.shown if problem[2:4] == (column, requirement)]
            self.shown += kind[:n_free]

    def raise_error(self, hint: str = "") -> None:
        """Raise a ValueError with the first kind of problem and how many others there are, if any."""
        if not self.counts:
            return
        (kind, count), *others = self.counts.items()
        shown = [problem for problem in self.shown if (problem.column, problem.requirement) == kind][:N_SHOWN]
        values = ", ".join(f"{problem.value} in line {problem.line}" for problem in shown)
        more = f" and {count - len(shown):,} more" if count > len(shown) else ""
        what = f"column {kind[0]!r}" if kind[0] else "each line"
        message = f"{shown[0].file}: {what} must {kind[1]}; got {values}{more}"
        if others:
            texts = [f"{name!r} ({n:,})" if name else f"lines ({n:,})" for (name, _), n in others]
            message += f"\nFurther problems in {', '.join(texts[:N_SHOWN])}{', ...' * (len(texts) > N_SHOWN)}"
        raise ValueError(f"{message}\n{hint}".rstrip())


@dataclass
class Parsed:
    """Checked rows, and what is wrong with some; the values there are null.

    They have the features in the order of the schema (numeric: double; categorical: text; datetime:
    timestamp), then the keys and, where it was read, the target: a class as text. With it come the weights.
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
        elif isinstance(column, Weight) and with_target:
            columns[name] = check.numeric(name, column.as_number)
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
        """Read labels; of classes that are not kept they are null, as of rows without one."""
        target = self.schema.target
        if target.is_numeric:
            return self.numeric(target.column, target.as_number)
        labels = self._texts(target.column, target, None if target.classes == "auto" else target.classes)
        if target.keep is None:
            return labels
        kept = pa.array(target.keep)
        if not pc.all(pc.is_in(labels, kept)).as_py():
            labels = pc.replace_substring_regex(labels, r"^([+-]?\d+)\.0*$", r"\1")
        return pc.if_else(pc.is_in(labels, kept), labels, None)

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
                number = Numeric(null_values=column.null_values)
                values, wrong = to_numbers(self.batch[part], number, self.file)
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

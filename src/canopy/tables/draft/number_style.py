"""Find out how a file writes numbers: decimal mark, marks between thousands, currencies and units."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pyarrow as pa

from canopy.schema.columns import Numeric
from canopy.schema.file_format import FileFormat
from canopy.tables.convert import Converted, to_numbers
from canopy.tables.draft.markers import MARKERS, find_strange, is_almost
from canopy.tables.draft.values import ColumnValues, Value

MARKS = ("%", "$", "€", "£", "¥", "₹")

# A no-break space and a narrow one, too.
BLANKS = " \u00a0\u202f"
# Decimal mark and marks between thousands; of several that fit as well, the first.
STYLES = ((".", ""), (".", ","), (",", "."), (",", ""), (".", BLANKS), (",", BLANKS), (".", "'"))

# The word behind a number, such as kg.
UNIT = r"regexp_extract(text, '^[+-]?\d[\d.,]*(\s+\pL+|\pL\pL+)$', 1)"


def number_converter(file_format: FileFormat, unit: str = "") -> Callable[[pa.Array], Converted]:
    """Make a function that converts texts to finite numbers, as the reader does."""
    column = Numeric(null_values=MARKERS, marks=(*MARKS, unit) if unit else MARKS)

    def convert(texts: pa.Array) -> Converted:
        numbers, invalid = to_numbers(texts, column, file_format)
        return Converted(numbers, invalid | np.isinf(numbers.to_numpy(zero_copy_only=False)))

    return convert


def not_numbers(values: ColumnValues, file_format: FileFormat) -> list[Value]:
    return find_strange(values, number_converter(file_format))


def find_style(columns: Sequence[ColumnValues], file_format: FileFormat) -> FileFormat:
    """Choose the marks by which most columns are numeric.

    Columns that are numeric or text in any case do not count: only values with a digit and a mark differ.
    """

    def styled(style: tuple[str, str]) -> FileFormat:
        return file_format.model_copy(update=dict(zip(("decimal", "thousands"), style, strict=True)))

    @cache
    def fit(index: int, style: tuple[str, str]) -> tuple[bool, int]:
        """Return whether a column is numeric, and how many of its values are then invalid."""
        strange = not_numbers(columns[index], styled(style))
        numeric = is_almost(strange, columns[index])
        return numeric, -sum(any(map(str.isdigit, value.text)) for value in strange) if numeric else 0

    def score(style: tuple[str, str]) -> tuple[int, int]:
        fits = [fit(index, style) for index in indices]
        return sum(numeric for numeric, _ in fits), sum(n_strange for _, n_strange in fits)

    plain, with_comma, german, continental, *others = STYLES
    if file_format.delimiter == ";":
        # There `1,234` has decimals, elsewhere thousands.
        with_comma, continental = continental, with_comma
    others = [with_comma, german, continental, *others]
    indices = [index for index, values in enumerate(columns) if values.n_values]
    unclear = [index for index in indices if fit(index, plain) != (True, 0)]
    if all(fit(index, style) <= fit(index, plain) for index in unclear for style in others):
        return styled(plain)
    decimal, thousands = style = max([plain, *others], key=score)
    numeric = [columns[index] for index in indices if fit(index, style)[0]]
    used = {mark for values in numeric for mark in used_characters(values, thousands)}
    return styled((decimal, "".join(mark for mark in thousands if mark in used)))


def used_characters(values: ColumnValues, characters: str) -> list[str]:
    """Find which of some characters the values of a column have."""
    if not characters:
        return []
    aggregates = ", ".join(["bool_or(contains(text, ?))"] * len(characters))
    found = values.ask(aggregates, *characters)
    return [character for character, is_used in zip(characters, found, strict=True) if is_used]


def find_unit(values: ColumnValues) -> str:
    """Find the word that is behind each number of a column, such as kg; empty if there is none."""
    unit, n_units = values.ask(f"min({UNIT}), count(DISTINCT {UNIT})")
    return str(unit).strip() if n_units == 1 and values.n_values > 2 else ""


def store_numbers(values: ColumnValues, file_format: FileFormat, unit: str = "") -> None:
    """Write the numbers of a column to the table `numbers_<index>`: `text`, `number`, `n`, `row`."""
    connection, name = values.table.connection, f"numbers_{values.index}"
    connection.execute(f"CREATE TEMP TABLE {name} (text VARCHAR, n BIGINT, row BIGINT, number DOUBLE)")
    convert = number_converter(file_format, unit)
    for batch in values.batches():
        numbers, invalid = convert(batch["text"])
        rows = batch.append_column("number", numbers).filter(pa.array(~invalid))
        connection.register("batch", rows.filter(rows["number"].is_valid()))
        connection.execute(f"INSERT INTO {name} FROM batch")

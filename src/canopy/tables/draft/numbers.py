"""Find out how a file writes numbers: decimal mark, marks between thousands, currencies and percent."""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from canopy.schema.columns import Numeric
from canopy.schema.file_format import FileFormat
from canopy.tables.convert import to_numbers
from canopy.tables.draft.markers import MARKERS, N_STRANGE, is_almost
from canopy.tables.draft.store import ColumnStore, Value

MARKS = ("%", "$", "€", "£", "¥", "₹")

# Decimal mark and marks between thousands; of several that fit as well, the first.
STYLES = ((".", ""), (".", ","), (",", "."), (",", ""), (".", "blanks"), (",", "blanks"), (".", "'"))
# A no-break space and a narrow one, too.
BLANKS = " \u00a0\u202f"


def converted(
    store: ColumnStore, index: int, file_format: FileFormat, unit: str = ""
) -> Iterator[tuple[pa.RecordBatch, pa.Array, np.ndarray]]:
    """Convert the values of a column to numbers, as the reader does.

    Yields:
        Values (`value`, `n`, `row`), their numbers, and whether each is no finite number.
    """
    column = Numeric(null_values=MARKERS, marks=(*MARKS, unit) if unit else MARKS)
    for batch in store.values(index):
        numbers, invalid = to_numbers(batch["value"], column, file_format)
        yield batch, numbers, invalid | np.isinf(numbers.to_numpy(zero_copy_only=False))


def not_numbers(store: ColumnStore, index: int, file_format: FileFormat) -> list[Value]:
    """Find the values of a column that are no finite numbers, at most a few more than may be strange."""
    found: list[Value] = []
    for batch, _, invalid in converted(store, index, file_format):
        rows = batch.filter(pa.array(invalid)).slice(0, 3 * N_STRANGE)
        found += [Value(**row | {"text": row.pop("value")}) for row in rows.to_pylist()]
        if len(found) > 2 * N_STRANGE:
            break
    return sorted(found, key=lambda value: value.row)


def find_style(store: ColumnStore, file_format: FileFormat) -> FileFormat:
    """Choose the marks by which most columns are numeric.

    Columns that are numeric or text in any case do not count: only values with a digit and a mark differ.
    """
    n_values = [store.row(f"SELECT count(*) FROM values_{index}")[0] for index in range(len(store.names))]

    @cache
    def fit(index: int, style: tuple[str, str]) -> tuple[bool, int]:
        """Return whether a column is numeric, and how many of its values are then invalid."""
        strange = not_numbers(store, index, with_style(file_format, style))
        numeric = is_almost(strange, n_values[index], store.n_rows)
        return numeric, -sum(any(map(str.isdigit, value.text)) for value in strange) if numeric else 0

    plain, *others = styles_for(file_format)
    indices = [index for index in range(len(store.names)) if n_values[index]]
    unclear = [index for index in indices if fit(index, plain) != (True, 0)]
    if all(fit(index, style) <= fit(index, plain) for index in unclear for style in others):
        return with_style(file_format, plain)

    def score(style: tuple[str, str]) -> tuple[int, int]:
        fits = [fit(index, style) for index in indices]
        return sum(numeric for numeric, _ in fits), sum(n_strange for _, n_strange in fits)

    style = max([plain, *others], key=score)
    styled = with_style(file_format, style)
    numeric = [index for index in indices if fit(index, style)[0]]
    used = {mark for index in numeric for mark in used_characters(store, index, styled.thousands)}
    thousands = "".join(mark for mark in styled.thousands if mark in used)
    return styled.model_copy(update={"thousands": thousands})


def styles_for(file_format: FileFormat) -> Sequence[tuple[str, str]]:
    """Order the styles: with semicolons between values `1,234` has decimals, otherwise thousands."""
    if file_format.delimiter == ";":
        return (STYLES[0], STYLES[3], STYLES[2], STYLES[1], *STYLES[4:])
    return STYLES


def with_style(file_format: FileFormat, style: tuple[str, str]) -> FileFormat:
    decimal, thousands = style
    thousands = BLANKS if thousands == "blanks" else thousands
    return file_format.model_copy(update={"decimal": decimal, "thousands": thousands})


def used_characters(store: ColumnStore, index: int, characters: str) -> list[str]:
    """Find which of some characters the values of a column have."""
    if not characters:
        return []
    counts = ", ".join(f"bool_or(contains(value, ${i}))" for i in range(1, len(characters) + 1))
    found = store.row(f"SELECT {counts} FROM values_{index}", *characters)
    return [character for character, is_used in zip(characters, found, strict=True) if is_used]


def find_unit(store: ColumnStore, index: int) -> str:
    """Find the word that is behind each number of a column, such as kg; empty if there is none."""
    unit, n_units, n_values = store.row(
        r"SELECT min(unit), count(DISTINCT unit), count(*) FROM (SELECT regexp_extract(value, "
        r"'^[+-]?\d[\d.,]*(\s+\pL+|\pL\pL+)$', 1) AS unit "
        f"FROM values_{index})"
    )
    return str(unit).strip() if n_units == 1 and n_values > 2 else ""


def store_numbers(store: ColumnStore, index: int, file_format: FileFormat, unit: str = "") -> None:
    """Write the numbers of a column to the table `numbers_<index>`: `value`, `number`, `n`, `row`."""
    store.connection.execute(
        f"CREATE TEMP TABLE numbers_{index} (value VARCHAR, number DOUBLE, n BIGINT, row BIGINT)"
    )
    for batch, numbers, invalid in converted(store, index, file_format, unit):
        finite = pc.and_(pc.is_valid(numbers), pa.array(~invalid))
        table = pa.table({"value": batch["value"], "number": numbers, "n": batch["n"], "row": batch["row"]})
        store.connection.register("batch", table.filter(finite))
        store.connection.execute(f"INSERT INTO numbers_{index} SELECT * FROM batch")

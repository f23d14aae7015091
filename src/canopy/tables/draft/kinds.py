"""Find the kind of each column from all its values."""

import re

from canopy.schema.columns import Categorical, Datetime, Ignored, Key
from canopy.schema.file_format import FileFormat
from canopy.tables.draft.categories import set_text_kind
from canopy.tables.draft.dates import Dates, find_dates
from canopy.tables.draft.markers import is_almost, is_common, remove_strange
from canopy.tables.draft.number_style import find_unit, not_numbers
from canopy.tables.draft.numbers import set_numeric_kind
from canopy.tables.draft.values import ColumnValues
from canopy.tables.draft.wording import percent, quote_all

# Names that spreadsheets and pandas give the column of row numbers.
UNNAMED = re.compile(r"(?i:unnamed(_\d+|: ?\d+))|\.\.\.\d+")


def set_kind(values: ColumnValues, file_format: FileFormat) -> None:
    """Find the kind of a column without its null markers; other texts that mean missing are removed."""
    finding = values.finding
    if finding.name in values.table.nested:
        finding.why = "lists, structures or bytes"
    elif not values.n_values:
        finding.why = "no value in any row"
    elif values.n_values == 1 and not values.n_missing:
        finding.why = f"{quote_all(values.first(1))} in every row"
    elif is_almost(strange := not_numbers(values, file_format), values):
        remove_strange(values, strange, "numbers")
        set_numeric_kind(values, file_format)
    elif unit := find_unit(values):
        set_numeric_kind(values, file_format, unit)
    elif (dates := find_dates(values)) is not None:
        remove_strange(values, dates.strange, "dates")
        _set_datetime(values, dates)
    else:
        set_text_kind(values)
    if UNNAMED.fullmatch(finding.name) and values.is_unique:
        finding.column = Ignored()
        finding.why = "a different value in each row of a column without a name"
    if values.n_missing and values.n_values:
        _set_missing(values)


def _set_datetime(values: ColumnValues, dates: Dates) -> None:
    finding = values.finding
    finding.column = Datetime(format=dates.format)
    first, last = values.ask("min(text), max(text)")
    is_iso = dates.format == "iso"
    finding.why = f"{first[:10]} to {last[:10]}" if is_iso else f"such as {quote_all(values.first(1))}"
    if dates.is_ambiguous:
        finding.looks.append("day or month first? All values fit both")


def _set_missing(values: ColumnValues) -> None:
    """Choose what missing values become."""
    finding = values.finding
    if isinstance(finding.column, Categorical):
        finding.set(missing="category")
    elif not isinstance(finding.column, Ignored | Key):
        finding.set(missing="median")
    finding.why += f", {percent(values.n_missing, values.table.n_rows)} missing"
    if common := [text for text in sorted(finding.markers) if is_common(text)]:
        finding.why += f" ({quote_all(common)})"

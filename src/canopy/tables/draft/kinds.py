"""Find the kind of each column from all its values."""

import re

from canopy.schema.columns import Categorical, Datetime, Ignored, Key
from canopy.schema.file_format import FileFormat
from canopy.tables.draft.categorical import N_FREQUENT, set_categorical
from canopy.tables.draft.dates import find_dates
from canopy.tables.draft.finding import Counts, Finding, n_rows, percent, quote_all, shorten
from canopy.tables.draft.markers import MARKERS, are_codes, is_almost, means_missing, placeholders, used
from canopy.tables.draft.numbers import find_unit, not_numbers
from canopy.tables.draft.numeric import find_numeric_kind
from canopy.tables.draft.store import ColumnStore, Value

# Names that spreadsheets and pandas give the column of row numbers.
UNNAMED = re.compile(r"(?i:unnamed(_\d+|: ?\d+))|\.\.\.\d+")

# A number with any marks.
OTHER_NUMBER = r"[+-]?\d{1,3}([., ']?\d{3})*[.,]\d+"

# A text of so many words is free text, unless few different ones repeat.
N_WORDS = 3
FREE_TEXT_SHARE = 0.2
# With more different values per row than this, most say nothing of other rows.
MANY_VALUES_SHARE = 0.5


def find_kind(
    store: ColumnStore, index: int, file_format: FileFormat, *, is_na_missing: bool, is_target: bool = False
) -> Finding:
    """Find the kind of a column.

    Args:
        store: The values; those that mean missing are removed.
        index: The column.
        file_format: How numbers are written.
        is_na_missing: Whether other columns show that NA means missing in this file.
        is_target: Whether it is the target, of which only the markers are of interest.
    """
    name = store.names[index]
    finding = Finding(name, Ignored(), "")
    _remove_markers(store, index, finding, is_na_missing=is_na_missing)
    counts = Counts.of(store, index)
    if is_target:
        return finding
    if name in store.nested:
        finding.why = "lists, structures or bytes"
    elif not counts.n_values:
        finding.why = "no value in any row"
    elif counts.n_values == 1 and not counts.n_missing:
        finding.why = f"{quote_all(store.first(index, 1))} in every row"
    elif is_almost(strange := not_numbers(store, index, file_format), counts.n_values, counts.n_rows):
        _remove_strange(store, index, finding, strange, "numbers")
        find_numeric_kind(store, index, finding, file_format)
    elif unit := find_unit(store, index):
        find_numeric_kind(store, index, finding, file_format, unit)
    elif (dates := find_dates(store, index, counts.n_values)) is not None:
        _remove_strange(store, index, finding, dates.strange, "dates")
        _set_datetime(store, index, finding, dates.format)
        if dates.is_ambiguous:
            finding.looks.append("day or month first? All values fit both")
    else:
        _find_text_kind(store, index, finding)
    counts = Counts.of(store, index)
    if UNNAMED.fullmatch(name) and counts.is_unique:
        finding.column, finding.why = Ignored(), "a different value in each row of a column without a name"
    _set_missing(finding, counts)
    return finding


def _remove_markers(store: ColumnStore, index: int, finding: Finding, *, is_na_missing: bool) -> None:
    markers = used(store, index)
    if "NA" in markers and not is_na_missing and are_codes(store, index):
        markers.remove("NA")
        finding.kept.add("NA")
        n, _ = store.row(f"SELECT n, row FROM values_{index} WHERE value = 'NA'")
        finding.looks.append(f"NA ({n_rows(n)}) is a value, as all are two capital letters: null_values: []")
    store.remove(index, markers)
    finding.markers |= {*markers}


def _remove_strange(
    store: ColumnStore, index: int, finding: Finding, strange: list[Value], others: str
) -> None:
    """Let texts in a column of numbers or dates be missing values."""
    store.remove(index, [value.text for value in strange])
    finding.markers |= {value.text for value in strange}
    if odd := [value for value in strange if not means_missing(value.text)]:
        where = ", ".join(
            f"'{shorten(value.text)}' ({n_rows(value.n)}, first in line {store.line(value.row)})"
            for value in odd
        )
        finding.looks.append(f"all {others} but {where}: read as missing")


def _set_datetime(store: ColumnStore, index: int, finding: Finding, form: str) -> None:
    finding.column = Datetime(format=form)
    first, last = store.row(f"SELECT min(value), max(value) FROM values_{index}")
    finding.why = (
        f"{first[:10]} to {last[:10]}" if form == "iso" else f"such as {quote_all(store.first(index, 1))}"
    )


def _find_text_kind(store: ColumnStore, index: int, finding: Finding) -> None:
    if found := placeholders(store, index):
        store.remove(index, found)
        finding.markers |= {*found}
    counts = Counts.of(store, index)
    n_words, *_ = store.row(
        f"SELECT sum(n * (1 + length(value) - length(replace(value, ' ', '')))) / sum(n) FROM values_{index}"
    )
    (are_numbers,) = store.row(
        f"SELECT bool_and(regexp_full_match(value, ?)) FROM values_{index}", OTHER_NUMBER
    )
    if are_numbers:
        finding.looks.append("numbers with other decimal or thousands marks than table.file has?")
    share = counts.n_values / counts.n_filled
    if n_words >= N_WORDS and share > FREE_TEXT_SHARE and counts.n_values > N_FREQUENT:
        finding.why = f"free text: {counts.n_values:,} different ones, {n_words:.0f} words on average"
    elif counts.is_unique:
        finding.column, finding.why = Key(), "another value in each row"
    elif share > MANY_VALUES_SHARE and counts.n_values > N_FREQUENT:
        finding.why = f"{counts.n_values:,} different values in {counts.n_filled:,} rows"
    else:
        set_categorical(store, index, finding)


def _set_missing(finding: Finding, counts: Counts) -> None:
    """Choose what missing values become, if there are any."""
    if not counts.n_missing or not counts.n_values:
        return
    if isinstance(finding.column, Categorical):
        finding.set(missing="category")
    elif not isinstance(finding.column, Ignored | Key):
        finding.set(missing="median")
    common = [text for text in sorted(finding.markers) if text in MARKERS or means_missing(text)]
    written = quote_all(common) if common else ""
    finding.why += f", {percent(counts.n_missing, counts.n_rows)} missing{f' ({written})' if written else ''}"

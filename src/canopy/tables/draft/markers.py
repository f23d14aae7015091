"""Find the texts by which a file says that there is no value."""

import re
from collections.abc import Callable, Collection, Iterable

import pyarrow as pa

from canopy.schema.columns import Ignored
from canopy.tables.convert import Converted
from canopy.tables.draft.values import ColumnValues, Finding, Value
from canopy.tables.draft.wording import n_rows, shorten

# Texts that mean "no value" in any column, unless all values are such codes.
MARKERS = ("NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "(null)", "\\N", "?")

# Texts that mean it where all others are numbers or dates.
WORDS = {
    *("none", "missing", "unknown", "unk", "undefined", "nil", "not available"),
    *("n.a.", "na", "n/d", "nd", "x"),
}

# An otherwise numeric column may have so many texts that are none of those, in few rows.
N_STRANGE = 3
STRANGE_SHARE = 0.1
N_NUMBERS = 50


def is_placeholder(text: str) -> bool:
    """Return whether a text has no letter or digit, such as `-` or `...`.

    Examples:
        >>> is_placeholder("--"), is_placeholder("-1"), is_placeholder("+")
        (True, False, False)
    """
    return re.fullmatch(r"[-.*_#/\u2013\u2014]+", text) is not None


def means_missing(text: str) -> bool:
    return is_placeholder(text) or text.lower() in WORDS


def has_na(values: ColumnValues) -> bool:
    """Return whether NA means missing in a column: not among codes of two capital letters (Namibia)."""
    return bool(values.which(["NA"])) and not _are_codes(values)


def _are_codes(values: ColumnValues) -> bool:
    (only_codes,) = values.ask("bool_and(regexp_full_match(text, '[A-Z]{2}'))")
    return bool(only_codes) and values.n_values > 2


def remove_markers(values: ColumnValues, *, is_na_missing: bool) -> None:
    """Take the markers out of a column, NA only where it is one."""
    found, finding = values.which(MARKERS), values.finding
    if "NA" in found and not is_na_missing and _are_codes(values):
        found.remove("NA")
        finding.kept.add("NA")
        (n,) = values.ask("sum(n) FILTER (text = 'NA')")
        finding.looks.append(f"NA ({n_rows(n)}) is a value, as all are two capital letters: null_values: []")
    values.remove([*found])


def remove_placeholder(values: ColumnValues) -> None:
    """Take the value of a text column that has no letter or digit out of it, where it is the only one."""
    unlettered = r"FILTER (NOT regexp_matches(text, '[\pL\pN]'))"
    n_found, text = values.ask(f"count(*) {unlettered}, min(text) {unlettered}")
    if n_found == 1 and values.n_values > 2 and is_placeholder(text):
        values.remove([text])


def find_strange(values: ColumnValues, convert: Callable[[pa.Array], Converted]) -> list[Value]:
    """Find the values that cannot be converted, by row, at most a few more than may be strange."""
    found: list[Value] = []
    for batch in values.batches():
        invalid = batch.filter(pa.array(convert(batch["text"]).invalid))
        found += [Value(**row) for row in invalid.slice(0, 3 * N_STRANGE).to_pylist()]
        if len(found) > 2 * N_STRANGE:
            break
    return sorted(found, key=lambda value: value.row)


def is_almost(strange: list[Value], values: ColumnValues) -> bool:
    """Return whether a column is one of numbers or dates although a few texts are `strange`."""
    others = [value for value in strange if not means_missing(value.text)]
    if len(strange) == values.n_values or len(strange) > 2 * N_STRANGE:
        return False
    n_others = sum(value.n for value in others)
    few = len(others) <= N_STRANGE and n_others <= STRANGE_SHARE * values.table.n_rows
    return not others or (few and values.n_values - len(strange) >= N_NUMBERS)


def remove_strange(values: ColumnValues, strange: list[Value], others: str) -> None:
    """Let texts in a column of numbers or dates (`others`) be missing values."""
    values.remove([value.text for value in strange])
    if odd := [value for value in strange if not means_missing(value.text)]:
        where = ", ".join(
            f"'{shorten(value.text)}' ({n_rows(value.n)}, first in line {values.table.line(value.row)})"
            for value in odd
        )
        values.finding.looks.append(f"all {others} but {where}: read as missing")


def settle_markers(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Choose the null markers of the file; columns for which they are not right get their own.

    Returns:
        Common markers that mean missing in one column and are a value in none.
    """
    findings = [*findings]
    kept = {text for finding in findings for text in finding.kept}
    marking = {text for finding in findings for text in finding.markers}
    common = {text for text in marking - kept if is_common(text)}
    for finding in findings:
        if isinstance(finding.column, Ignored):
            continue
        if finding.kept & {*MARKERS}:
            finding.set(null_values=tuple(sorted(finding.markers)))
        elif finding.markers - common:
            finding.set(null_values=_with_empty(finding.markers))
    return _with_empty(common)


def is_common(text: str) -> bool:
    """Return whether a text means "no value" in other files too."""
    return text in MARKERS or means_missing(text)


def _with_empty(markers: Collection[str]) -> tuple[str, ...]:
    return ("", *sorted(markers))

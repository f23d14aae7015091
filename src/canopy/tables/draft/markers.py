"""Find the texts by which a file says that there is no value."""

import re
from collections.abc import Collection, Sequence

from canopy.tables.draft.store import ColumnStore, Value

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


def placeholders(store: ColumnStore, index: int) -> list[str]:
    """Find the value of a text column that has no letter or digit, where it is the only one."""
    found = store.connection.execute(
        rf"SELECT value FROM values_{index} WHERE NOT regexp_matches(value, '[\pL\pN]') LIMIT 2"
    ).fetchall()
    n_values, *_ = store.row(f"SELECT count(*) FROM values_{index}")
    return [text for (text,) in found if len(found) == 1 and n_values > 2 and is_placeholder(text)]


def used(store: ColumnStore, index: int) -> list[str]:
    """Find the markers that a column has."""
    found = store.which(index, MARKERS)
    return [marker for marker in MARKERS if marker in found]


def are_codes(store: ColumnStore, index: int) -> bool:
    """Return whether all values are two capital letters, like country codes, where NA is Namibia."""
    only_codes, n_values = store.row(
        f"SELECT bool_and(regexp_full_match(value, '[A-Z]{{2}}')), count(*) FROM values_{index}"
    )
    return bool(only_codes) and n_values > 2


def is_almost(strange: Sequence[Value], n_values: int, n_rows: int) -> bool:
    """Return whether a column is numeric (or of dates) although a few texts are not.

    Args:
        strange: The texts that are none, without the markers.
        n_values: Number of the column's values.
        n_rows: Number of rows.
    """
    others = [value for value in strange if not means_missing(value.text)]
    if len(strange) == n_values or len(strange) > 2 * N_STRANGE:
        return False
    few = len(others) <= N_STRANGE and sum(value.n for value in others) <= STRANGE_SHARE * n_rows
    return not others or (few and n_values - len(strange) >= N_NUMBERS)


def means_missing(text: str) -> bool:
    return is_placeholder(text) or text.lower() in WORDS


def sort_markers(markers: Collection[str]) -> tuple[str, ...]:
    return ("", *sorted(set(markers) - {""}))

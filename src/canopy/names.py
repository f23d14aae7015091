"""Names and numbers in patterns and messages: those that a pattern means, the nearest one, a short form."""

import difflib
import math
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase


def match_columns(names: Sequence[str], patterns: Iterable[str]) -> list[str]:
    """Find the columns, in the order of `names`, that names or else patterns mean; `*` is all."""
    chosen: set[str] = set()
    for pattern in patterns:
        exact = pattern in names and pattern != "*"
        matches = {pattern} if exact else {name for name in names if fnmatchcase(name, pattern)}
        if not matches and pattern != "*":
            raise ValueError(
                f"Each name or pattern must match a column; found {pattern!r}, which matches none"
                f"{nearest(pattern, names)}"
            )
        chosen |= matches
    return [name for name in names if name in chosen]


def nearest(name: str, names: Iterable[str]) -> str:
    """Suggest the name that was probably meant, as the end of an error message."""
    matches = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


def shorten(text: object, *, length: int = 160) -> str:
    """Put a text of any length on one line of a message."""
    line = " ".join(str(text).split())
    return line if len(line) <= length else line[: length - 3] + "..."


def by_number(text: str) -> tuple[float, str]:
    """Sort numbers by size, then texts, as the key of `sorted`."""
    try:
        return float(text), text
    except ValueError:
        return math.inf, text


def write_apart(numbers: Collection[float]) -> list[str]:
    """Write different numbers with as many digits as tell them apart, at least six.

    Examples:
        >>> write_apart([0.5, 1600000001.0, 1600000002.0])
        ['0.5', '1600000001', '1600000002']
    """
    written = ([f"{number:.{n}g}" for number in numbers] for n in range(6, 18))
    return next((texts for texts in written if len({*texts}) == len(texts)), [*map(str, numbers)])

"""Tables as aligned text, as wide as the terminal, as JSON or as CSV."""

import csv
import io
import math
import re
import shutil
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

import orjson

Form = Literal["text", "json", "csv"]

# Characters of a line where the output is no terminal and the variable `COLUMNS` is not set.
WIDTH = 120
_GAP = "  "
# Of each number a table shows at least so many significant digits, where it has them.
_SIGNIFICANT = 3
# No column is cut below this, also if the table then becomes too wide.
_NARROWEST = 12
_NUMBER = re.compile(r"[-+]?[\d,.]+(e[-+]?\d+)?|-?")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d\+00:00")


def render(headers: Sequence[str], rows: Sequence[Sequence[Any]], *, indent: int = 0) -> str:
    """Lay out a table, no wider than the terminal where cutting texts but those of the first column helps.

    The floats of a column get the same number of decimals; texts are taken as they are.

    Examples:
        >>> print(render(["name", "score"], [["a", 0.5], ["long", 0.97182], ["b", None]]))
        name   score
        a     0.5000
        long  0.9718
        b          -
    """
    columns = [format_column([row[i] for row in rows]) for i in range(len(headers))]
    right = [bool(column) and all(_NUMBER.fullmatch(cell) for cell in column) for column in columns]
    columns = [[header, *column] for header, column in zip(headers, columns, strict=True)]
    total = shutil.get_terminal_size((WIDTH, 0)).columns - indent
    widths = _fit([max(map(len, column)) for column in columns], total)
    lines = []
    for row_index, cells in enumerate(zip(*columns, strict=True)):
        # Of a long key, in the header, the end says more.
        cut = _cut_head if row_index == 0 else _cut
        texts = [
            cut(cell, width).rjust(width) if to_right else cut(cell, width).ljust(width)
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        ]
        lines.append((" " * indent + _GAP.join(texts)).rstrip())
    return "\n".join(lines)


def format_column(values: Sequence[Any]) -> list[str]:
    """Write values so that they read well below each other.

    The floats get the same number of decimals where that leaves each its significant digits; else each is
    written with four of them.
    """
    floats = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    n_given = max(map(_n_decimals, floats), default=0)
    n_shown = min(decimals(max([1.0, *map(abs, floats)])), n_given)
    lossy = any(
        value and n_shown < min(_n_decimals(value), _SIGNIFICANT - _magnitude(value)) for value in floats
    )
    return [
        format_value(value) if lossy or value not in floats else f"{value:.{n_shown}f}" for value in values
    ]


def format_value(value: Any) -> str:
    """Write one value on one line; what a terminal would take for a command is shown as `?`."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.0f}" if 1e3 <= abs(value) < 1e15 else f"{value:.4g}"
    text = " ".join(str(value).split())
    if match := _TIME.fullmatch(text):
        text = " ".join(match.groups())
    return "".join(character if character.isprintable() else "?" for character in text)


def decimals(scale: float) -> int:
    """Give the number of decimals for numbers of a size: four for scores, fewer above, what is needed below.

    Examples:
        >>> [decimals(scale) for scale in (0.0, 0.0000123, 0.0123, 0.97, 34.5, 1234.5)]
        [4, 7, 4, 4, 2, 0]
    """
    if 0 < scale < 0.1:
        return max(4, _SIGNIFICANT - _magnitude(scale))
    return 4 if scale < 10 else 2 if scale < 100 else 1 if scale < 1000 else 0


def decimals_for_error(scale: float, error: float) -> int:
    """Give the number of decimals that shows two digits of an error, at least those of `decimals`.

    Examples:
        >>> decimals_for_error(0.97, 0.00031)
        5
    """
    return max(decimals(scale), min(8, 1 - math.floor(math.log10(error)))) if error > 0 else decimals(scale)


def signed(value: float, *, n_decimals: int = 4) -> str:
    """Write a difference with its sign.

    Examples:
        >>> signed(0.0031), signed(-0.0), signed(-0.00001)
        ('+0.0031', '+0.0000', '-0.0000')
    """
    return f"{value + 0.0:+.{n_decimals}f}"


def _magnitude(value: float) -> int:
    """Count the digits before the decimal point; below 0.1, minus the zeros behind it."""
    return 1 + math.floor(math.log10(abs(value)))


def _n_decimals(value: float) -> int:
    """Count the decimals that a number was given with."""
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _fit(widths: list[int], total: int) -> list[int]:
    """Narrow the widest columns but the first until the table fits, or nothing is left to narrow."""
    while sum(widths) + len(_GAP) * (len(widths) - 1) > total:
        widest = max(range(1, len(widths)), key=lambda i: widths[i], default=0)
        if widest == 0 or widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return widths


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _cut_head(text: str, width: int) -> str:
    return text if len(text) <= width else f"...{text[3 - width :]}"


def as_json(content: Any) -> str:
    """Write JSON, null for numbers that it does not know."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    return orjson.dumps(content, default=str, option=options).decode()


def as_csv(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Write CSV with a header line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([headers, *rows])
    return text.getvalue().rstrip("\n")

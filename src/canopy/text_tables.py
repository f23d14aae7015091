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

WIDTH = 120  # of a line where the output is no terminal and the variable `COLUMNS` is not set
_GAP = "  "
_NARROWEST = 12  # no column is cut below this, also if the table then becomes too wide
_NUMBER = re.compile(r"[-+]?[\d,.]+(e[-+]?\d+)?|-?")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d\+00:00")


def render(headers: Sequence[str], rows: Sequence[Sequence[Any]], *, indent: int = 0) -> str:
    """Lay out a table, no wider than the terminal where cutting texts but those of the first column helps."""
    columns = [format_column([row[i] for row in rows]) for i in range(len(headers))]
    right = [bool(column) and all(map(_NUMBER.fullmatch, column)) for column in columns]
    widths = [max(len(header), *map(len, column), 0) for header, column in zip(headers, columns, strict=True)]
    total = shutil.get_terminal_size((WIDTH, 0)).columns - indent - len(_GAP) * (len(widths) - 1)
    # The widest columns but the first are narrowed until the table fits, or nothing is left to narrow.
    while sum(widths) > total and max(widths[1:], default=0) > _NARROWEST:
        widths[widths.index(max(widths[1:]), 1)] -= 1
    lines = []
    for number, cells in enumerate([headers, *zip(*columns, strict=True)]):
        texts = []
        for cell, width, to_right in zip(cells, widths, right, strict=True):
            if len(cell) > width:
                # Of a long key, in the header, the end says more.
                cell = f"...{cell[3 - width :]}" if number == 0 else f"{cell[: width - 3]}..."
            texts.append(cell.rjust(width) if to_right else cell.ljust(width))
        lines.append((" " * indent + _GAP.join(texts)).rstrip())
    return "\n".join(lines)


def format_column(values: Sequence[Any]) -> list[str]:
    """Write values below each other: floats with the same number of decimals, unless that drops digits."""
    floats = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    n = min(decimals(max([1.0, *map(abs, floats)])), max(map(_n_decimals, floats), default=0))
    is_lossy = any(abs(value) < 10 ** (2 - n) and round(value, n) != value for value in floats)
    return [format_value(value) if is_lossy or value not in floats else f"{value:.{n}f}" for value in values]


def format_value(value: Any) -> str:
    """Write one value on one line; what a terminal would take for a command is shown as `?`."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.0f}" if 1e3 <= abs(value) < 1e15 else f"{value:.4g}"
    text = _TIME.sub(r"\1 \2", " ".join(str(value).split()))
    return "".join(character if character.isprintable() else "?" for character in text)


def decimals(scale: float) -> int:
    """Give the number of decimals for numbers of a size: four for scores, fewer above, what is needed below.

    Examples:
        >>> [decimals(scale) for scale in (0.0, 0.0000123, 0.0123, 0.97, 34.5, 1234.5)]
        [4, 7, 4, 4, 2, 0]
    """
    if 0 < scale < 0.1:
        return max(4, 2 - math.floor(math.log10(scale)))
    return 4 if scale < 10 else 2 if scale < 100 else 1 if scale < 1000 else 0


def decimals_for_error(scale: float, error: float) -> int:
    """Give the number of decimals that shows two digits of an error, at least those of `decimals`."""
    return max(decimals(scale), min(8, 1 - math.floor(math.log10(error)))) if error > 0 else decimals(scale)


def _n_decimals(value: float) -> int:
    """Count the decimals that a number was given with."""
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def as_json(content: Any) -> str:
    """Write JSON, null for numbers that it does not know."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    return orjson.dumps(content, default=str, option=options).decode()


def as_csv(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([headers, *rows])
    return text.getvalue().rstrip("\n")

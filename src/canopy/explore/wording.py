"""Write figures for people."""

import math
from typing import SupportsFloat

from markupsafe import Markup, escape

MINUS = "\N{MINUS SIGN}"


def significant(value: SupportsFloat, *, digits: int = 6) -> float | int:
    """Round to significant digits; an integral number becomes an integer and keeps all of its digits.

    Examples:
        >>> significant(0.123456789), significant(2959.365), significant(581012.0)
        (0.123457, 2959.36, 581012)
    """
    number = float(value)
    return int(number) if number.is_integer() else float(f"{number:.{digits}g}")


def number(value: float | str, digits: int = 4) -> str:
    """Write a number with thousands separators and at most so many significant digits; a text as it is.

    Examples:
        >>> number(581012), number(2959.365), number(0.31283), number(-0.5)
        ('581,012', '2,959', '0.3128', '\N{MINUS SIGN}0.5')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int) or value.is_integer():
        return f"{int(value):,}".replace("-", MINUS)
    text = fixed(value, max(0, digits - 1 - math.floor(math.log10(abs(value)))))
    return text.rstrip("0").rstrip(".") if "." in text else text


def fixed(value: float, decimals: int = 2) -> str:
    """Write a number with so many decimals, for a table's column.

    Examples:
        >>> fixed(-0.5), fixed(0.001)
        ('\N{MINUS SIGN}0.50', '0.00')
    """
    return f"{value:z,.{decimals}f}".replace("-", MINUS)


def percent(share: float) -> str:
    """Write a share in percent, with more digits where it comes close to none or all.

    Examples:
        >>> percent(0.4876), percent(0.99982), percent(0.0000052), percent(1.0)
        ('48.8%', '99.98%', '0.0005%', '100%')
    """
    rest = min(share, 1 - share)
    decimals = max(1, -math.floor(math.log10(100 * rest))) if rest > 0 else 0
    return f"{100 * share:.{decimals}f}%"


def listing(items: list[str], most: int = 8) -> str:
    """Join words as a sentence does; of many, the first ones.

    Examples:
        >>> listing(["a", "b", "c"]), listing(["a", "b", "c", "d"], most=2)
        ('a, b and c', 'a, b and 2 more')
    """
    if len(items) > most + 1:
        items = [*items[:most], f"{len(items) - most} more"]
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def breakable(text: str) -> Markup:
    """Let a browser break a line inside long names, behind `_` and `/`.

    Examples:
        >>> breakable("net_income<1>")
        Markup('net_<wbr>income&lt;1&gt;')
    """
    return Markup(str(escape(text)).replace("/", "/<wbr>").replace("_", "_<wbr>"))  # noqa: S704

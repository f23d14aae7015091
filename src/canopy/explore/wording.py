"""Write figures for people."""

import math
from collections.abc import Container
from typing import Any

import numpy as np
from markupsafe import Markup, escape


def rounded(value: Any, digits: int = 6, *, whole: Container[str] = ()) -> Any:
    """Round nested numbers to so many digits, not those of keys in `whole`; integral ones become int."""
    match value:
        case dict():
            # With 17 digits, each double is itself.
            return {key: rounded(x, 17 if key in whole else digits, whole=whole) for key, x in value.items()}
        case list():
            return [rounded(item, digits, whole=whole) for item in value]
        case float():
            return int(value) if value.is_integer() else float(f"{value:.{digits}g}")
    return value


def number(value: float | str, digits: int = 4) -> str:
    """Write a number with so many significant digits, such as 581,012, 2,959 and 0.3128; a text as it is."""
    if isinstance(value, str):
        return value
    if value == int(value):
        return fixed(value, 0)
    text = fixed(value, max(0, digits - 1 - math.floor(math.log10(abs(value)))))
    return text.rstrip("0").rstrip(".") if "." in text else text


def fixed(value: float, decimals: int = 2) -> str:
    return f"{value:z,.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def moment(days: float) -> str:
    """Write a time, in days since 1970, without parts that are zero: `2024-03-01 06:30`, `2024-03-01`."""
    return str(np.datetime64(round(days * 1440), "m")).replace("T", " ").removesuffix(" 00:00")


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
    """Join words as a sentence does; of many, the first ones."""
    if len(items) > most + 1:
        items = [*items[:most], f"{len(items) - most} more"]
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def breakable(text: str) -> Markup:
    """Let a browser break a line inside long names, behind `_` and `/`."""
    return Markup(str(escape(text)).replace("/", "/<wbr>").replace("_", "_<wbr>"))  # noqa: S704

"""Round figures so that the findings are short and the same on every machine."""

from typing import SupportsFloat


def significant(value: SupportsFloat, *, digits: int = 6) -> float | int:
    """Round to significant digits; a whole number becomes an integer and keeps all of its digits.

    Examples:
        >>> significant(0.123456789), significant(2959.365), significant(581012.0)
        (0.123457, 2959.36, 581012)
    """
    number = float(value)
    return int(number) if number.is_integer() else float(f"{number:.{digits}g}")

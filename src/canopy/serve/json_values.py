"""Values of JSON as the texts and numbers that a table's file has for them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from canopy.schema.columns import Categorical, Datetime, Numeric

# How tables write true and false; the first that a column has counts.
WORDS = {"true": True, "false": False, "yes": True, "no": False, "t": True, "f": False, "y": True, "n": False}
INTEGER = re.compile("0|-?[1-9][0-9]{0,18}")


def convert(value: Any, column: object, *, words: Mapping[bool, str]) -> Any:
    """Turn a value of JSON into the number or the text that `canopy.tables.parse` reads.

    Args:
        value: The value.
        column: What the column is.
        words: How the table writes true and false, where it does so in its own way.

    Raises:
        ValueError: If it is of another kind than the column; the message is the requirement.

    Examples:
        >>> convert(2.0, Categorical(), words={}), convert(True, Categorical(), words={True: "yes"})
        ('2', 'yes')
        >>> convert("2024-01-31", Datetime(format="%d.%m.%Y"), words={})
        '31.01.2024'
    """
    kind = type(value)
    if value is None:
        return None
    if isinstance(column, Numeric):
        if kind in (int, float):
            return float(value)
        raise ValueError("be a number")
    if kind is str:
        return time_text(value, column.format) if isinstance(column, Datetime) else value
    if kind is bool and isinstance(column, Categorical):
        return words.get(value, str(value).lower())
    if kind in (int, float):
        return str(int(value)) if value == int(value) else repr(value)
    raise ValueError("be a text or a number")


def time_text(text: str, form: str) -> str:
    """Write a time by ISO 8601 in the format of a column; a text that is none stays as it is."""
    if form == "iso":
        return text
    with suppress(ValueError):
        if form == "epoch":
            float(text)
        else:
            datetime.strptime(text, form)  # noqa: DTZ007 - only whether it is in the format
        return text
    with suppress(ValueError):
        time = datetime.fromisoformat(text)
        time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        if form == "epoch":
            return repr(time.timestamp())
        # The C library writes no leading zeros of a year.
        return time.strftime(form.replace("%Y", f"{time.year:04}"))
    return text


def words_among(values: Sequence[str]) -> dict[bool, str]:
    """Find how a column writes true and false.

    Examples:
        >>> words_among(["No", "Perhaps", "Yes"])
        {False: 'No', True: 'Yes'}
    """
    found = {text.lower(): text for text in values}
    return {WORDS[word]: found[word] for word in reversed(WORDS) if word in found}


def integers_among(texts: Iterable[str | None]) -> dict[str, int]:
    """Find the texts that JSON may have as an integer."""
    return {text: int(text) for text in texts if text is not None and INTEGER.fullmatch(text)}

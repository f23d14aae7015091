"""What is wrong with a request: its size, or fields of its rows with requirement and value."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException

from canopy.names import nearest

# Of one request: more would only repeat what is wrong.
MAX_PROBLEMS = 20
# Of a value that is shown again: a client may send megabytes.
MAX_SHOWN = 80
# Longer names are not compared with those of the table.
MAX_COMPARED = 100


class Problem(NamedTuple):
    """What is wrong with a value.

    Attributes:
        row: Index of the row in the request; None where no one row is meant.
        field: Column; empty where the row as a whole is wrong.
        requirement: What it must be or have, such as `be a number`.
        found: What was sent.
    """

    row: int | None
    field: str
    requirement: str
    found: str

    def __str__(self) -> str:
        return f"{self.field or 'the row'} must {self.requirement}; got {self.found}"


class BodyTooLarge(HTTPException):
    """A request's body is larger than the server reads.

    Args:
        limit: What it reads, in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(
            413, f"A request's body must be at most {limit:,} bytes; found more: send fewer rows at once"
        )


class TooManyRows(HTTPException):
    """A request has more rows than the server predicts at once.

    Args:
        limit: What it predicts.
        found: How many the request has.
    """

    def __init__(self, limit: int, found: str) -> None:
        super().__init__(413, f"A request must have at most {limit:,} rows; got {found}: send fewer at once")


class RowsRefused(ValueError):  # noqa: N818 - it is an answer to a client
    """The rows of a request cannot be predicted.

    Args:
        problems: What is wrong, at least one, the first `MAX_PROBLEMS`.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        row, *_ = first = problems[0]
        where = "" if row is None else f"row {row}: " if first.field else f"row {row} "
        more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{where}{str(first).removeprefix('the row ')}{more}")
        self.problems = list(problems)


def shown(value: Any) -> str:
    """Write a value as a client would, shortened."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "lists or objects in one another, hundreds deep"
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def named(name: str) -> str:
    """Write a name that a client chose, shortened, its control characters escaped."""
    return shown(name)[1:-1]


def suggestion(name: str, names: Iterable[str]) -> str:
    """Suggest the name that was probably meant, unless the one that was sent is too long to be compared."""
    return nearest(name, names) if len(name) <= MAX_COMPARED else ""

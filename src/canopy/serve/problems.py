"""What is wrong with a request: its size, or fields of its rows with requirement and value."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException

# Of one request: more would only repeat what is wrong.
MAX_PROBLEMS = 20
# Of a value that is shown again: a client may send megabytes.
MAX_SHOWN = 80


@dataclass(frozen=True)
class Problem:
    """What is wrong with a value.

    Attributes:
        row: Index of the row in the request, from 0; None where no one row is meant.
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


class RowsRefused(HTTPException):
    """The rows of a request cannot be predicted.

    Args:
        problems: What is wrong, at least one; the first `MAX_PROBLEMS` are reported.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = problems[:MAX_PROBLEMS]
        row = problems[0].row
        place = "" if row is None else f"row {row}: "
        more = f" ({len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(422, f"{place}{problems[0]}{more}")

    def __str__(self) -> str:
        return self.detail


class BodyTooLarge(HTTPException):
    """A request's body has more than `limit` bytes, which is all that the server reads."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"A request's body must be at most {limit:,} bytes: send fewer rows at once")


class TooManyRows(HTTPException):
    """A request has more rows than the `limit` that the server predicts at once."""

    def __init__(self, limit: int, found: str) -> None:
        super().__init__(413, f"A request must have at most {limit:,} rows; got {found}: send fewer at once")


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

"""What is wrong with the rows of a request: field, requirement, value."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

# Of one request: more would only repeat what is wrong.
MAX_PROBLEMS = 20
# Of a value that is shown again: a client may send megabytes.
MAX_SHOWN = 80


class Problem(NamedTuple):
    """What is wrong with a value.

    Attributes:
        row: Place of the row in the request, from 0; None where no one row is meant.
        field: Column or group; empty where the row as a whole is wrong.
        requirement: What it must be.
        found: What was sent.
    """

    row: int | None
    field: str
    requirement: str
    found: str


class RowsRefused(ValueError):  # noqa: N818 - it is an answer to a client
    """The rows of a request cannot be predicted.

    Args:
        problems: What is wrong, at least one, the first `MAX_PROBLEMS`.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        row = "" if first.row is None else f"row {first.row}"
        where = ": ".join(filter(None, (row, first.field)))
        more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{where} must be {first.requirement}; found {first.found}{more}")
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

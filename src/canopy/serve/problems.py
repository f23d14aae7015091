"""What is wrong with the rows of a request: place, field, requirement and value."""

from collections.abc import Iterable
from dataclasses import dataclass

from starlette.exceptions import HTTPException

from canopy.tables.parse import Violation

# Of one request.
MAX_PROBLEMS = 20


@dataclass(frozen=True)
class Problem:
    """What is wrong with a value: `requirement` is what it must be or have, such as `be a number`."""

    # Index in the request, from 0; None where no one row is meant.
    row: int | None
    # Empty where the row as a whole is wrong.
    field: str
    requirement: str
    found: str

    def __str__(self) -> str:
        return f"{self.field or 'the row'} must {self.requirement}; got {self.found}"


class RowsRefused(HTTPException):
    """The rows of a request cannot be predicted; the first `MAX_PROBLEMS` problems are reported."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: problem.row or 0)[:MAX_PROBLEMS]
        first, *others = self.problems
        place = "" if first.row is None else f"row {first.row}: "
        super().__init__(422, f"{place}{first}{f' ({len(others)} more)' if others else ''}")


def first_problems(violations: Iterable[Violation]) -> list[Problem]:
    """List the first rows of each kind of violation."""
    return [
        Problem(row, column, requirement, value)
        for column, requirement, rows, values in violations
        for row, value in zip(rows[:MAX_PROBLEMS].tolist(), values, strict=False)
    ]


def check_row_count(n_rows: int, *, limit: int) -> None:
    if n_rows > limit:
        raise HTTPException(413, f"A request must have at most {limit:,} rows; got {n_rows:,}: send fewer")

"""What is wrong with the rows of a table, and the message about it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

# Of each kind of problem, so many are shown.
N_SHOWN = 10


class Problem(NamedTuple):
    """A value that is not what it must be or have, in a line from 1; or a whole line, in no column."""

    file: str
    line: int
    column: str
    requirement: str
    value: str


@dataclass
class Problems:
    """What is wrong with the rows of a table: how many of each kind, `n_shown` (all if None) with lines."""

    n_shown: int | None = N_SHOWN
    # By column and requirement.
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    shown: list[Problem] = field(default_factory=list)

    def count(self, column: str, requirement: str, n: int) -> int | None:
        """Count further problems of a kind; gives how many of them are to be shown, None for all."""
        self.counts[column, requirement] += n
        n_before = self.counts[column, requirement] - n
        return None if self.n_shown is None else max(0, self.n_shown - n_before)

    def add_lines(self, problems: Iterable[Problem]) -> None:
        """Add lines of a file that do not have the form of the table."""
        self.shown += [problem for problem in problems if self.count("", problem.requirement, 1) != 0]

    def raise_error(self, hint: str = "") -> None:
        """Raise a ValueError with the first kind of problem and how many others there are, if any."""
        if not self.counts:
            return
        (kind, count), *others = self.counts.items()
        shown = [problem for problem in self.shown if (problem.column, problem.requirement) == kind][:N_SHOWN]
        values = ", ".join(f"{problem.value} in line {problem.line}" for problem in shown)
        more = f" and {count - len(shown):,} more" if count > len(shown) else ""
        what = f"column {kind[0]!r}" if kind[0] else "each line"
        message = f"{shown[0].file}: {what} must {kind[1]}; got {values}{more}"
        if others:
            texts = [f"{name!r} ({n:,})" if name else f"lines ({n:,})" for (name, _), n in others]
            message += f"\nFurther problems in {', '.join(texts[:N_SHOWN])}{', ...' * (len(texts) > N_SHOWN)}"
        raise ValueError(f"{message}\n{hint}".rstrip())

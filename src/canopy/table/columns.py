"""What a column, or a group of columns, of a table is."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class NumericColumn:
    """A numeric feature.

    Attributes:
        name: Its column.
        unit: Unit of its values.
        meaning: What it says, for people.
        low: Least possible value in the raw table.
        high: Greatest possible value there.
        missing: What becomes of a row without a value: it is refused, or the training rows' median takes its
            place and a group of its own tells of it.
    """

    name: str
    unit: str
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    missing: Literal["reject", "median"] = "reject"

    @property
    def range(self) -> str:
        """Say which values the column may have.

        Examples:
            >>> NumericColumn(name="Slope", unit="degrees", meaning="Slope", low=0, high=90).range
            'from 0 to 90 degrees'
            >>> NumericColumn(name="Way", unit="m", meaning="Way to the road", low=0).range
            'at least 0 m'
        """
        if math.isinf(self.high):
            text = f"at least {self.low:g}"
        elif math.isinf(self.low):
            text = f"at most {self.high:g}"
        else:
            text = f"from {self.low:g} to {self.high:g}"
        return f"{text} {self.unit}".rstrip()


@dataclass(frozen=True, kw_only=True)
class OneHotGroup:
    """A categorical feature as 0/1 columns.

    Attributes:
        name: Name of the feature.
        meaning: What it says, for people.
        columns: Its columns in the table's order, and what each stands for.
        complete: Whether each row sets exactly one of the columns; once columns have been dropped, at
            most one.
        made_of: What the raw table has in place of the columns: themselves, a column of text with the
            group's name, or a numeric column (`source`), of which the group tells whether it has a value.
        source: That numeric column.
    """

    name: str
    meaning: str
    columns: dict[str, str]
    complete: bool = True
    made_of: Literal["columns", "text", "gaps"] = "columns"
    source: str | None = None

    @property
    def choices(self) -> dict[str, str]:
        """What a row may say to set a column: the column's name, or the text; an empty one if it has none.

        Examples:
            >>> text_group("island", "Island", {"Dream": "Dream"}, own_category=True).choices
            {'Dream': 'island=Dream', '': 'island='}
        """
        if self.made_of != "text":
            return {column: column for column in self.columns}
        return {column.removeprefix(f"{self.name}="): column for column in self.columns}


def text_group(
    name: str, meaning: str, categories: dict[str, str], *, own_category: bool = False
) -> OneHotGroup:
    """Describe a column of text as the one-hot columns that are made of it.

    Args:
        name: The column.
        meaning: What it says, for people.
        categories: Each text that it may hold, and what it stands for.
        own_category: Whether no text at all is a category too.
    """
    columns = {f"{name}={value}": text for value, text in categories.items()}
    if own_category:
        columns[f"{name}="] = "missing"
    return OneHotGroup(name=name, meaning=meaning, columns=columns, made_of="text")


def gap_group(column: NumericColumn) -> OneHotGroup:
    """Describe the feature that tells whether a numeric column has a value."""
    name = f"{column.name}_missing"
    return OneHotGroup(
        name=name,
        meaning=f"{column.meaning}: whether it is missing",
        columns={f"{name}=no": "no", f"{name}=yes": "yes"},
        made_of="gaps",
        source=column.name,
    )

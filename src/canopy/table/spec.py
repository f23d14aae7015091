"""What the columns of a table are, as `params.yaml` describes them."""

import difflib
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig

SPLITS = ("train", "val", "test")
SPLIT_COLUMN = "split"


@dataclass(frozen=True, kw_only=True)
class OneHotGroup:
    """A categorical feature stored as 0/1 columns.

    Attributes:
        name: Name of the feature.
        meaning: What it says, for people.
        columns: Its columns in the table's order, and what each stands for.
        complete: Whether each row sets exactly one of the columns; once columns have been dropped, at
            most one.
    """

    name: str
    meaning: str
    columns: dict[str, str]
    complete: bool = True


@dataclass(frozen=True, kw_only=True)
class NumericColumn:
    """A numeric feature.

    Attributes:
        name: Its column.
        unit: Unit of its values.
        meaning: What it says, for people.
        low: Least possible value in the raw table.
        high: Greatest possible value there.
    """

    name: str
    unit: str
    meaning: str
    low: float = -math.inf
    high: float = math.inf

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
            return f"at least {self.low:g} {self.unit}"
        if math.isinf(self.low):
            return f"at most {self.high:g} {self.unit}"
        return f"from {self.low:g} to {self.high:g} {self.unit}"


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """The columns of a table and their kinds.

    Attributes:
        target: Column with the class of each row.
        classes: Value in that column to name of the class, in the order of the model's outputs.
        numeric: Numeric features.
        groups: Categorical features stored as one-hot columns.
    """

    target: str
    classes: dict[int, str]
    numeric: tuple[NumericColumn, ...]
    groups: tuple[OneHotGroup, ...]

    @classmethod
    def from_config(cls, table: "DictConfig") -> "TableSpec":
        """Read the section `table` of `params.yaml`.

        Raises:
            ValueError: If a column is named twice, a class name is used twice, fewer than two classes are
                given or a range is none.
        """
        spec = cls(
            target=table.target.column,
            classes={int(value): str(name) for value, name in table.target.classes.items()},
            numeric=tuple(_numeric_column(str(name), column) for name, column in table.numeric.items()),
            groups=tuple(
                OneHotGroup(name=str(name), meaning=group.meaning, columns=dict(group.columns))
                for name, group in table.one_hot.items()
            ),
        )
        for kind, names in (("column", spec.columns), ("class name", [*spec.classes.values()])):
            if repeated := _first_repeated(names):
                raise ValueError(
                    f"params.yaml must give each {kind} once; found {repeated!r} twice in the section table"
                )
        if len(spec.classes) < 2:
            raise ValueError(
                "params.yaml must give at least two classes in table.target.classes; "
                f"found {len(spec.classes)}"
            )
        return spec

    @property
    def features(self) -> list[str]:
        """All columns but the target, in the table's order: numeric ones first."""
        one_hot = [column for group in self.groups for column in group.columns]
        return [column.name for column in self.numeric] + one_hot

    @property
    def columns(self) -> list[str]:
        """All columns, the target last."""
        return [*self.features, self.target]

    def without(self, dropped: Collection[str]) -> "TableSpec":
        """Describe the table that is left when columns are dropped.

        Args:
            dropped: Names of feature columns.

        Returns:
            The same table without them; a group that loses a column is no longer complete, and one
            that loses all of them is gone.

        Raises:
            ValueError: If the target or every feature would be dropped.
        """
        if self.target in dropped:
            raise ValueError(f"The target must stay; found {self.target!r} among the dropped columns")
        groups = []
        for group in self.groups:
            kept = {column: name for column, name in group.columns.items() if column not in dropped}
            complete = group.complete and len(kept) == len(group.columns)
            if kept:
                groups.append(replace(group, columns=kept, complete=complete))
        numeric = tuple(column for column in self.numeric if column.name not in dropped)
        if not numeric and not groups:
            raise ValueError("At least one feature must stay; found all of them dropped")
        return replace(self, numeric=numeric, groups=tuple(groups))


def _numeric_column(name: str, column: "DictConfig") -> NumericColumn:
    ends = column.get("range", (None, None))
    low, high = (ends[0], ends[1]) if len(ends) == 2 else (1, 0)
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    if not low < high:
        raise ValueError(
            f"params.yaml must give table.numeric.{name}.range as [least, greatest], either end null where "
            f"there is none; found {list(ends)}"
        )
    return NumericColumn(name=name, unit=column.unit, meaning=column.meaning, low=low, high=high)


def match_columns(names: Sequence[str], patterns: Iterable[str]) -> list[str]:
    """Find the columns that names or patterns mean.

    Args:
        names: Columns to choose from.
        patterns: Exact names, or patterns with `*`, `?` and `[...]`.

    Returns:
        The columns that match, in the order of `names`.

    Raises:
        ValueError: If a name or pattern matches no column.

    Examples:
        >>> match_columns(["Slope", "Soil_Type1", "Soil_Type2"], ["Soil_Type*"])
        ['Soil_Type1', 'Soil_Type2']
    """
    chosen: set[str] = set()
    for pattern in patterns:
        matches = {name for name in names if fnmatchcase(name, pattern)}
        if not matches:
            raise ValueError(
                f"Each name or pattern must match a column; found {pattern!r}, which matches none"
                f"{nearest(pattern, names)}"
            )
        chosen |= matches
    return [name for name in names if name in chosen]


def nearest(name: str, names: Iterable[str]) -> str:
    """Suggest the name that was probably meant, as the end of an error message.

    Examples:
        >>> nearest("Elevaton", ["Elevation", "Slope"])
        " (did you mean 'Elevation'?)"
        >>> nearest("x", ["Elevation", "Slope"])
        ''
    """
    matches = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


def _first_repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None

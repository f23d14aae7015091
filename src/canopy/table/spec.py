"""What the columns of a table are, as `params.yaml` describes them.

Every stage after the reading of the raw table, and the model, know numeric columns, one-hot columns and the
target. Columns of text become one-hot columns when the raw table is read (`canopy.table.raw`).
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from canopy.table.columns import NumericColumn, OneHotGroup, gap_group, text_group

if TYPE_CHECKING:
    from omegaconf import DictConfig

SPLITS = ("train", "val", "test")
SPLIT_COLUMN = "split"

# How tables write that there is no value, where their description tells of no other way.
MISSING_VALUES = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null")


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """The columns of a table and their kinds.

    Attributes:
        target: Column with the class of each row.
        classes: Value in that column to name of the class, in the order of the model's outputs; the values
            are all whole numbers or all texts.
        numeric: Numeric features.
        groups: Categorical features.
        ignored: Columns of the raw table that nobody reads.
        missing_values: How the raw table writes that there is no value.
    """

    target: str
    classes: dict[int, str] | dict[str, str]
    numeric: tuple[NumericColumn, ...]
    groups: tuple[OneHotGroup, ...]
    ignored: tuple[str, ...] = ()
    missing_values: tuple[str, ...] = MISSING_VALUES

    @classmethod
    def from_config(cls, table: "DictConfig") -> "TableSpec":
        """Read the section `table` of `params.yaml`.

        Raises:
            ValueError: If a column is named twice, a class name is used twice, fewer than two classes are
                given, a range is none, or a category or class is a word that is read as something else.
        """
        columns = table.get("numeric", {})
        numeric = tuple(_numeric_column(str(name), column) for name, column in columns.items())
        spec = cls(
            target=table.target.column,
            classes=typed_classes(_values(table.target.classes, "table.target.classes")),
            numeric=numeric,
            groups=_groups(table, numeric),
            ignored=tuple(table.get("ignored", ())),
            missing_values=tuple(table.get("missing_values", MISSING_VALUES)),
        )
        names_of_columns = [*spec.columns, *(group.name for group in spec.groups), *spec.ignored]
        for kind, names in (("column", names_of_columns), ("class name", [*spec.classes.values()])):
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
    def inputs(self) -> list[str]:
        """The features that a row must give: those that tell of missing values follow from the others."""
        one_hot = [column for group in self.given_groups for column in group.columns]
        return [column.name for column in self.numeric] + one_hot

    @property
    def given_groups(self) -> list[OneHotGroup]:
        """The groups whose columns are among the inputs."""
        return [group for group in self.groups if group.made_of != "gaps"]

    @property
    def raw_features(self) -> list[str]:
        """The columns that the raw table has for the features."""
        names = [column.name for column in self.numeric]
        for group in self.given_groups:
            names += [group.name] if group.made_of == "text" else group.columns
        return names

    @property
    def raw_columns(self) -> list[str]:
        """The columns that somebody reads of the raw table, the target last."""
        return [*self.raw_features, self.target]

    @property
    def class_values(self) -> tuple[int, ...] | tuple[str, ...]:
        """Value of each class in the raw table."""
        return tuple(self.classes)  # type: ignore[return-value]

    @property
    def is_text_target(self) -> bool:
        """Whether the classes are texts in the raw table."""
        return isinstance(next(iter(self.classes)), str)

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
        gaps = {name for group in self.groups if group.source in dropped for name in group.columns}
        dropped = {*dropped, *gaps}
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

    def filled(self) -> "TableSpec":
        """Describe the same table once the missing numbers have been filled in."""
        return replace(self, numeric=tuple(replace(column, missing="reject") for column in self.numeric))


def _values(values: "DictConfig", key: str) -> dict[Any, str]:
    """Read the values that a column may have, and their names."""
    for value in values:
        if isinstance(value, bool):
            raise ValueError(
                f"params.yaml must put the keys of {key} in quotes where they are words; found yes, no, on, "
                f"off, true or false, which YAML reads as {value}"
            )
        if isinstance(value, float):
            raise ValueError(
                f"params.yaml must put the keys of {key} in quotes where they are no integers; got {value}, "
                'which may be written otherwise in the table, as "1e5" for 100000.0'
            )
    return {value: str(name) for value, name in values.items()}


def _groups(table: "DictConfig", numeric: tuple[NumericColumn, ...]) -> tuple[OneHotGroup, ...]:
    """Read the categorical features: given as columns, given as text, and those that tell of gaps."""
    groups = [
        OneHotGroup(name=str(name), meaning=group.meaning, columns=dict(group.columns))
        for name, group in table.get("one_hot", {}).items()
    ]
    missing_values = {"", *table.get("missing_values", MISSING_VALUES)}
    for name, column in table.get("text", {}).items():
        key = f"table.text.{name}.categories"
        categories = {str(value): text for value, text in _values(column.categories, key).items()}
        if found := missing_values & categories.keys():
            raise ValueError(
                f"params.yaml must give no missing value in {key}; found {min(found)!r}: say "
                f"table.text.{name}.missing=category for rows without a text"
            )
        own_category = column.get("missing", "reject") == "category"
        groups.append(text_group(str(name), column.meaning, categories, own_category=own_category))
    return (*groups, *(gap_group(column) for column in numeric if column.missing == "median"))


def typed_classes(values: Mapping[Any, str]) -> dict[int, str] | dict[str, str]:
    """Let the values of classes be whole numbers if all are written like some, else texts.

    Examples:
        >>> typed_classes({"1": "Apple", "2": "Pear"}), typed_classes({1: "Apple", "2b": "Pear"})
        ({1: 'Apple', 2: 'Pear'}, {'1': 'Apple', '2b': 'Pear'})
    """
    if all(re.fullmatch(r"0|-?[1-9]\d*", str(value)) for value in values):
        return {int(value): name for value, name in values.items()}
    return {str(value): name for value, name in values.items()}


def _numeric_column(name: str, column: "DictConfig") -> NumericColumn:
    ends = column.get("range", (None, None))
    low, high = (ends[0], ends[1]) if len(ends) == 2 else (1, 0)
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    if not low < high:
        raise ValueError(
            f"params.yaml must give table.numeric.{name}.range as [least, greatest], either end null where "
            f"there is none; found {list(ends)}"
        )
    return NumericColumn(
        name=name,
        unit=column.get("unit", ""),
        meaning=column.meaning,
        low=low,
        high=high,
        missing="median" if column.get("missing") == "median" else "reject",
    )


def _first_repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None

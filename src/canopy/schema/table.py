"""The schema of a table: the only description of it, for stages, training, prediction, export and server."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self, TypeVar

from pydantic import ValidationError, model_validator

from canopy.names import nearest
from canopy.schema.columns import (
    DATETIME_PARTS,
    RESERVED_KINDS,
    AnyColumn,
    Categorical,
    CategoricalPolicies,
    Column,
    Datetime,
    DatetimePolicies,
    Ignored,
    Key,
    Model,
    Numeric,
    NumericPolicies,
    Target,
    Text,
    first_repeated,
)
from canopy.schema.file_format import FileFormat

K = TypeVar("K", bound=Column)

# Sections of earlier versions, and what a column of each is written as now.
OLD_SECTIONS = {
    "numeric": "height: {kind: numeric, unit: m, range: [0, null]}",
    "one_hot": "colour: {kind: categorical, one_hot: {colour_red: Red, ...}}",
    "text": "island: {kind: categorical, categories: {Dream: Dream, ...}}",
    "ignored": "remark: {kind: ignored}",
    "missing_values": "null_values in table.file",
}


class Defaults(Model):
    """Policies of the columns that set none of their own."""

    numeric: NumericPolicies = NumericPolicies()
    categorical: CategoricalPolicies = CategoricalPolicies()
    datetime: DatetimePolicies = DatetimePolicies()


# Where params.yaml sets nothing at all.
STRICT = Defaults(
    numeric=NumericPolicies(missing="reject", out_of_range="reject"),
    categorical=CategoricalPolicies(missing="reject", unseen="other", min_count=1),
    datetime=DatetimePolicies(missing="reject"),
)


class TableSchema(Model):
    """A table.

    Attributes:
        title: Its name for people.
        about: What a row is, and where the table comes from.
        file: How it is written.
        target: The column that is predicted.
        columns: The other columns, in any order; names are those of the file, exactly.
        defaults: Policies of columns that set none.
        duplicates: Whether rows that repeat another one are reported or dropped.

    Examples:
        >>> TableSchema.parse(
        ...     {"target": {"column": "kind"}, "columns": {"slope": {"kind": "numeric"}}}
        ... ).features
        ['slope']
    """

    title: str = ""
    about: str = ""
    file: FileFormat = FileFormat()
    target: Target
    columns: dict[Text, AnyColumn]
    defaults: Defaults = Defaults()
    duplicates: Literal["report", "drop"] = "report"

    @classmethod
    def parse(cls, table: Mapping[str, Any]) -> Self:
        """Validate the section `table` of `params.yaml`.

        Raises:
            ValueError: If it is of an earlier version, a key is unknown or a value invalid; the message
                names the key, the requirement and the value.
        """
        if old := [key for key in OLD_SECTIONS if key in table]:
            raise ValueError(
                f"params.yaml must declare each column in table.columns; got the section table.{old[0]} "
                f"of an earlier version.\nWrite {OLD_SECTIONS[old[0]]}; docs/data_sets.md lists all kinds."
            )
        try:
            return cls.model_validate(table)
        except ValidationError as error:
            raise ValueError(describe_error(error)) from error

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        one_hot = [name for column in self.categorical.values() for name in column.one_hot or ()]
        names = [self.target.column, *self.columns, *one_hot]
        if (name := first_repeated(names)) is not None:
            raise ValueError(f"each column once, got {name!r} twice")
        parts = {f"{name}.{part}" for name in self.datetime for part in DATETIME_PARTS}
        if taken := sorted(parts.intersection(names)):
            raise ValueError(f"no column the name of a part of a datetime column, got {taken[0]!r}")
        if not self.features:
            raise ValueError("at least one numeric, categorical or datetime column, got none")
        return self

    @model_validator(mode="after")
    def _fill_in_policies(self) -> Self:
        """Give each column the policy that it leaves to the defaults."""
        for name, column in self.columns.items():
            if isinstance(column, Numeric | Categorical | Datetime):
                own = getattr(self.defaults, column.kind)
                strict = getattr(STRICT, column.kind)
                update = {}
                for policy in type(own).model_fields:
                    if getattr(column, policy) is None:
                        chosen = getattr(own, policy)
                        update[policy] = getattr(strict, policy) if chosen is None else chosen
                self.columns[name] = column.model_copy(update=update)
        return self

    def _of_kind(self, kind: type[K]) -> dict[str, K]:
        return {name: column for name, column in self.columns.items() if isinstance(column, kind)}

    @property
    def numeric(self) -> dict[str, Numeric]:
        return self._of_kind(Numeric)

    @property
    def categorical(self) -> dict[str, Categorical]:
        return self._of_kind(Categorical)

    @property
    def datetime(self) -> dict[str, Datetime]:
        return self._of_kind(Datetime)

    @property
    def keys(self) -> list[str]:
        return [*self._of_kind(Key)]

    @property
    def ignored(self) -> list[str]:
        return [*self._of_kind(Ignored)]

    @property
    def features(self) -> list[str]:
        """The columns that a model learns from."""
        return [*self.numeric, *self.categorical, *self.datetime]

    def file_columns(self, name: str) -> list[str]:
        """Names of the columns of the file that hold a column: several for one that is written as 0/1."""
        column = self.columns.get(name)
        one_hot = column.one_hot if isinstance(column, Categorical) else None
        return [name] if one_hot is None else [*one_hot]

    @property
    def all_file_columns(self) -> list[str]:
        """The columns of a file of the table, in declared order, the target last."""
        return [*(part for name in self.columns for part in self.file_columns(name)), self.target.column]

    def with_keys(self, names: Sequence[str]) -> Self:
        """Let further columns of a file name its rows; features stay what they are."""
        keys = {name: Key() for name in names if name not in self.features}
        return self.model_copy(update={"columns": {**self.columns, **keys}})

    def without(self, names: set[str]) -> Self:
        """Leave out columns, such as those that `drop_columns` names.

        A 0/1 column among them is a category that becomes unseen, and so `other`.

        Raises:
            ValueError: If the target or every feature would be left out.
        """
        if self.target.column in names:
            raise ValueError(f"drop_columns.columns must keep the target; got {self.target.column!r}")
        columns = {name: column for name, column in self.columns.items() if name not in names}
        schema = self.model_copy(update={"columns": columns})
        if not schema.features:
            raise ValueError("drop_columns.columns must keep at least one feature; got all of them")
        return schema


def describe_error(error: ValidationError) -> str:
    """Describe the first mistake in a schema: its key, the requirement, the value, the nearest name."""
    errors = error.errors(include_url=False)
    # Of a value that may have one of several types, the mistake that lies deepest is the one that was made.
    first = max(errors, key=lambda found: (found["loc"][:3] == errors[0]["loc"][:3], len(found["loc"])))
    keys = [*_keys(first["loc"])]
    value, message = first["input"], first["msg"].removeprefix("Value error, ")
    place = ".".join(["table", *keys])
    match first["type"]:
        case "extra_forbidden":
            return f"params.yaml must have known keys; got {place}{nearest(keys[-1], _fields())}"
        case "missing":
            return f"params.yaml must set {place}; got none"
        case "union_tag_invalid" | "union_tag_not_found":
            kind = value.get("kind") if isinstance(value, dict) else value
            kinds = "numeric, categorical, datetime, key or ignored"
            reserved = " (reserved for a later version)" if kind in RESERVED_KINDS else ""
            return f"params.yaml: {place}.kind must be {kinds}; got {kind!r}{reserved}"
        case "value_error":
            message = message if ", got" in message else f"{message}, got {value!r}"
            return f"params.yaml: {place} must give {message.replace(', got', '; got')}"
    requirement = message.removeprefix("Input should be ").removeprefix("a valid ")
    return f"params.yaml: {place} must be {requirement}; got {value!r}"


def _keys(loc: tuple[int | str, ...]) -> Iterator[str]:
    """Leave out what pydantic adds to the way to a value: the kind of a column, and `[key]`."""
    for index, part in enumerate(loc):
        is_kind = index == 2 and loc[0] == "columns"
        if not is_kind and "[" not in str(part):
            yield str(part)


def _fields() -> list[str]:
    kinds = (TableSchema, Target, FileFormat, Numeric, Categorical, Datetime, Key, Ignored, Defaults)
    return sorted({name for kind in kinds for name in kind.model_fields})

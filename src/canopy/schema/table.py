"""The schema of a table: the only description of it, for stages, training, prediction, export and server."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, TypeVar

from pydantic import ValidationError, model_validator

from canopy.names import nearest
from canopy.schema.columns import (
    DATETIME_PARTS,
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
    """A table: the section `table` of `params.yaml`, as docs/data_sets.md documents it.

    Attributes:
        columns: The columns but the target, in any order; names are those of the file, exactly.

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
            ValueError: If a key is unknown or a value invalid; the message names the key, the requirement and
                the value.
        """
        try:
            return cls.model_validate(table)
        except ValidationError as error:
            raise ValueError(_describe(error)) from error

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
                chosen: dict[str, Any] = getattr(STRICT, column.kind).model_dump(exclude_none=True)
                chosen |= getattr(self.defaults, column.kind).model_dump(exclude_none=True)
                update = {
                    policy: value for policy, value in chosen.items() if getattr(column, policy) is None
                }
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
        return [*(getattr(self.columns.get(name), "one_hot", None) or [name])]

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


def _describe(error: ValidationError) -> str:
    """Describe the first mistake in a schema: its key, the requirement, the value, the nearest name."""
    errors = error.errors(include_url=False)
    # Of a value that may have one of several types, the mistake that lies deepest is the one that was made.
    first = max(errors, key=lambda found: (found["loc"][:3] == errors[0]["loc"][:3], len(found["loc"])))
    value, message, loc = first["input"], first["msg"].removeprefix("Value error, "), first["loc"]
    # Pydantic adds the kind of a column to the way to a value, and `[key]`.
    is_column = loc[:1] == ("columns",)
    keys = [
        str(key) for index, key in enumerate(loc) if not (is_column and index == 2) and "[" not in str(key)
    ]
    place = ".".join(["table", *keys])
    match first["type"]:
        case "extra_forbidden":
            fields = {name for kind in WITH_KEYS for name in kind.model_fields}
            return f"params.yaml must have known keys; got {place}{nearest(keys[-1], sorted(fields))}"
        case "missing":
            return f"params.yaml must set {place}; got none"
        case "union_tag_invalid" | "union_tag_not_found":
            kind = value.get("kind") if isinstance(value, dict) else value
            kinds = "numeric, categorical, datetime, key or ignored"
            reserved = " (reserved for a later version)" if kind in ("weight", "group", "time") else ""
            return f"params.yaml: {place}.kind must be {kinds}; got {kind!r}{reserved}"
        case "value_error":
            message = message if ", got" in message else f"{message}, got {value!r}"
            return f"params.yaml: {place} must give {message.replace(', got', '; got')}"
    requirement = message.removeprefix("Input should be ").removeprefix("a valid ")
    return f"params.yaml: {place} must be {requirement}; got {value!r}"


WITH_KEYS = (TableSchema, Target, FileFormat, Numeric, Categorical, Datetime, Key, Ignored, Defaults)

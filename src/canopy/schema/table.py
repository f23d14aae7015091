"""The schema of a table: the only description of it, for stages, training, prediction, export and server."""

import codecs
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from canopy.names import nearest
from canopy.schema.columns import (
    DATETIME_PARTS,
    AnyColumn,
    Categorical,
    CategoricalPolicies,
    Datetime,
    DatetimePolicies,
    Key,
    Model,
    Numeric,
    NumericPolicies,
    Target,
    Text,
    first_repeated,
)

NULL_VALUES = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null")
COMPRESSIONS = (".gz", ".zst")
JSON_LINES = (".jsonl", ".ndjson", ".json")


class FileFormat(Model):
    """The format of a table, and the dialect of CSV; an empty quote or thousands mark is none."""

    format: Literal["csv", "parquet", "jsonl"] = "csv"
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    quote: str = Field(default='"', max_length=1)
    decimal: str = Field(default=".", min_length=1, max_length=1)
    thousands: str = ""
    encoding: str = "utf-8"
    trim: bool = False
    null_values: tuple[Text, ...] = NULL_VALUES
    # What happens to lines with too few or too many values.
    ragged: Literal["reject", "drop"] = "reject"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.decimal in self.thousands:
            raise ValueError(f"must have different decimal and thousands marks; got {self.decimal!r} twice")
        try:
            codecs.lookup(self.encoding)
        except LookupError as error:
            raise ValueError(f"must have an encoding that Python knows; got {self.encoding!r}") from error
        return self


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
    """A table: the section `table` of `params.yaml`, as docs/data_sets.md documents it."""

    title: str = ""
    about: str = ""
    file: FileFormat = FileFormat()
    target: Target
    # All but the target, in any order; names are those of the file, exactly.
    columns: dict[Text, AnyColumn]
    defaults: Defaults = Defaults()
    duplicates: Literal["report", "drop"] = "report"

    @classmethod
    def parse(cls, table: Mapping[str, Any]) -> Self:
        """Validate the section `table` of `params.yaml`; a ValueError if a key or value is invalid."""
        try:
            return cls.model_validate(table)
        except ValidationError as error:
            raise ValueError(describe_mistake(error, "params.yaml: table")) from error

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        one_hot = [name for column in self.categorical.values() for name in column.one_hot or ()]
        names = [self.target.column, *self.columns, *one_hot]
        if (name := first_repeated(names)) is not None:
            raise ValueError(f"must name each column once; got {name!r} twice")
        parts = {f"{name}.{part}" for name in self.datetime for part in DATETIME_PARTS}
        if taken := sorted(parts.intersection(names)):
            raise ValueError(f"must not name a column as a part of a datetime column; got {taken[0]!r}")
        if len(weights := [name for name, column in self.columns.items() if column.kind == "weight"]) > 1:
            raise ValueError(f"must have one column of kind weight at most; got {', '.join(weights)}")
        if not self.features:
            raise ValueError("must have at least one numeric, categorical or datetime column; got none")
        return self

    @model_validator(mode="after")
    def _fill_in_policies(self) -> Self:
        for name in self.features:
            column = self.columns[name]
            update = {
                policy: value
                for policies in (getattr(STRICT, column.kind), getattr(self.defaults, column.kind))
                for policy, value in policies
                if value is not None and getattr(column, policy) is None
            }
            self.columns[name] = column.model_copy(update=update)
        return self

    @property
    def numeric(self) -> dict[str, Numeric]:
        return {name: column for name, column in self.columns.items() if isinstance(column, Numeric)}

    @property
    def categorical(self) -> dict[str, Categorical]:
        return {name: column for name, column in self.columns.items() if isinstance(column, Categorical)}

    @property
    def datetime(self) -> dict[str, Datetime]:
        return {name: column for name, column in self.columns.items() if isinstance(column, Datetime)}

    @property
    def keys(self) -> list[str]:
        return [name for name, column in self.columns.items() if column.kind == "key"]

    @property
    def weight(self) -> str | None:
        """The column of kind weight."""
        return next((name for name, column in self.columns.items() if column.kind == "weight"), None)

    @property
    def ignored(self) -> list[str]:
        return [name for name, column in self.columns.items() if column.kind == "ignored"]

    @property
    def features(self) -> list[str]:
        return [*self.numeric, *self.categorical, *self.datetime]

    def file_columns(self, name: str) -> list[str]:
        """Columns of the file that hold a column: several for one that is written as 0/1."""
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
        """Leave out columns that `drop_columns` names: not the target, and not every feature."""
        if self.target.column in names:
            raise ValueError(f"drop_columns.columns must keep the target; got {self.target.column!r}")
        if names.issuperset(self.features):
            raise ValueError("drop_columns.columns must keep at least one feature; got all of them")
        columns = {name: column for name, column in self.columns.items() if name not in names}
        return self.model_copy(update={"columns": columns})


def describe_mistake(error: ValidationError, place: str) -> str:
    """Describe the first mistake at a place: its key, the requirement, the value."""
    errors = error.errors(include_url=False)
    # Of a value that may have one of several types, the deepest mistake is the one that was made.
    first = max(errors, key=lambda found: (found["loc"][:3] == errors[0]["loc"][:3], len(found["loc"])))
    # Pydantic adds the kind of a column to the way to a value, and `[key]`.
    keys = [*map(str, first["loc"])]
    keys = [key for i, key in enumerate(keys) if not (keys[0] == "columns" and i == 2) and "[" not in key]
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    got = "" if "; got" in message or isinstance(first["input"], dict) else f"; got {first['input']!r}"
    hint = nearest(keys[-1], KEYS) if first["type"] == "extra_forbidden" else ""
    return f"{'.'.join([place, *keys])}: {message}{got}{hint}"


MODELS = (TableSchema, Target, FileFormat, Numeric, Categorical, Datetime, Defaults)
KEYS = sorted({name for model in MODELS for name in model.model_fields})

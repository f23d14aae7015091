"""The kinds of column (docs/data_sets.md); a policy that is None is that of `table.defaults` for the kind."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

# Month, day and hour are two features each, sine and cosine; the time itself is a number.
DatetimePart = Literal["year", "month", "day_of_week", "hour", "time"]
DATETIME_PARTS = get_args(DatetimePart)


def _as_text(value: Any) -> Any:
    """Give an integer of YAML as text; how the file writes other values that YAML parsed is not known."""
    if isinstance(value, bool | float):
        raise ValueError(f"must be in quotes, since YAML reads it as something else than text; got {value}")
    return str(value) if isinstance(value, int) else value


Text = Annotated[str, BeforeValidator(_as_text)]


class Model(BaseModel):
    """A part of the schema: unknown keys are errors, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NumericPolicies(Model):
    """What happens to values of numeric columns."""

    missing: Literal["reject", "median", "mean", "constant"] | None = None
    out_of_range: Literal["reject", "clip", "missing"] | None = None


class CategoricalPolicies(Model):
    """What happens to values of categorical columns; `max_categories` has no limit if None."""

    missing: Literal["reject", "category"] | None = None
    unseen: Literal["reject", "other"] | None = None
    min_count: int | None = Field(default=None, ge=1)
    max_categories: int | None = Field(default=None, ge=1)


class DatetimePolicies(Model):
    """What happens to values of datetime columns."""

    missing: Literal["reject", "median"] | None = None


class Column(Model):
    """What all kinds have: a meaning for people, and their own null markers, if not those of the file."""

    meaning: str = ""
    null_values: tuple[Text, ...] | None = None


class Numeric(Column, NumericPolicies):
    """A number; `marks` around it, such as `$` or `%`, are not part of it."""

    kind: Literal["numeric"] = "numeric"
    unit: str = ""
    range: tuple[float | None, float | None] = (None, None)
    fill_value: float = 0.0
    marks: tuple[Text, ...] = ()

    @field_validator("range")
    @classmethod
    def _check_range(cls, ends: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
        low, high = ends
        if low is not None and high is not None and not low < high:
            raise ValueError(f"must be [least, greatest], null where there is none; got {[low, high]}")
        return ends

    @property
    def low(self) -> float:
        return -math.inf if self.range[0] is None else self.range[0]

    @property
    def high(self) -> float:
        return math.inf if self.range[1] is None else self.range[1]


class Categorical(Column, CategoricalPolicies):
    """One of several values, each with a name for people; of `one_hot` the file has its 0/1 column."""

    kind: Literal["categorical"] = "categorical"
    categories: Literal["auto"] | dict[Text, str] = "auto"
    one_hot: dict[Text, str] | None = Field(default=None, min_length=2)

    @property
    def listed(self) -> dict[str, str] | None:
        """Value to name of each category, or None where they are learnt."""
        return self.one_hot or (None if self.categories == "auto" else self.categories)


class Datetime(Column, DatetimePolicies):
    """A date or time, whose features are its parts."""

    kind: Literal["datetime"] = "datetime"
    format: str = "iso"
    parts: Literal["auto"] | tuple[DatetimePart, ...] = "auto"


class Key(Column):
    """Names a row: carried into predictions, never a feature."""

    kind: Literal["key"] = "key"


class Weight(Column):
    """How much a row counts, a number >= 0: in the loss, in scores and calibration; never a feature."""

    kind: Literal["weight"] = "weight"

    @property
    def as_number(self) -> Numeric:
        """The weights as a numeric column."""
        return Numeric(
            meaning=self.meaning,
            null_values=self.null_values,
            range=(0, None),
            missing="reject",
            out_of_range="reject",
        )


class Ignored(Column):
    """Not read; the file may lack it."""

    kind: Literal["ignored"] = "ignored"


AnyColumn = Annotated[Numeric | Categorical | Datetime | Key | Weight | Ignored, Field(discriminator="kind")]


class Target(Column):
    """The column that is predicted: of kind `categorical` a class, of kind `numeric` a number.

    Of the classes, those of the file if `auto`, each has a name.
    """

    column: str
    kind: Literal["categorical", "numeric"] = "categorical"
    missing: Literal["reject", "drop"] = "reject"
    # Of a number.
    unit: str = ""
    range: tuple[float | None, float | None] = (None, None)
    marks: tuple[Text, ...] = ()
    # Of classes, in the order of the model's outputs; ascending if `auto`.
    classes: Literal["auto"] | dict[Text, str] = "auto"
    # Only rows of these classes are in the data, all if None.
    keep: tuple[Text, ...] | None = None
    rare: Literal["reject", "drop", "merge"] = "reject"
    # One row for each split.
    min_count: int = Field(default=3, ge=1)
    merged_name: str = "other"

    @property
    def is_numeric(self) -> bool:
        return self.kind == "numeric"

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        for key in OF_CLASSES if self.is_numeric else OF_NUMBERS:
            value = getattr(self, key)
            # A saved schema names all keys.
            if value != type(self).model_fields[key].default:
                raise ValueError(f"must not have {key} with the kind {self.kind}; got {value!r}")
        return self

    @property
    def as_number(self) -> Numeric:
        """The target as a numeric column."""
        return Numeric(
            meaning=self.meaning,
            null_values=self.null_values,
            unit=self.unit,
            range=self.range,
            marks=self.marks,
            missing="reject" if self.missing == "reject" else "constant",
            out_of_range="reject",
        )

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        if self.classes == "auto":
            return self
        if len(self.classes) < 2:
            raise ValueError(f"must have at least two classes; got {len(self.classes)}")
        if unknown := [value for value in self.keep or () if value not in self.classes]:
            raise ValueError(f"keep must name values of classes; got {unknown[0]!r}")
        if (name := first_repeated(self.classes.values())) is not None:
            raise ValueError(f"classes must have each name once; got {name!r} twice")
        if self.rare == "merge" and self.merged_name in {*self.classes, *self.classes.values()}:
            raise ValueError(f"merged_name must not be that of a class; got {self.merged_name!r}")
        return self


# Keys of a target of each kind.
OF_NUMBERS, OF_CLASSES = ("unit", "range", "marks"), ("classes", "keep", "rare", "min_count", "merged_name")


def first_repeated(names: Iterable[str]) -> str | None:
    """Find a name that occurs twice; None if there is none."""
    return next((name for name, n in Counter(names).items() if n > 1), None)

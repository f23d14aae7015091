"""How a table is written in its file."""

import codecs
from typing import Literal

from pydantic import Field, field_validator, model_validator

from canopy.schema.columns import Model, Text

NULL_VALUES = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null")
# Suffixes of file names.
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

    @field_validator("encoding")
    @classmethod
    def _check_encoding(cls, encoding: str) -> str:
        try:
            codecs.lookup(encoding)
        except LookupError as error:
            raise ValueError(f"must be an encoding that Python knows; got {encoding!r}") from error
        return encoding

    @model_validator(mode="after")
    def _check_marks(self) -> "FileFormat":
        if self.decimal in self.thousands:
            raise ValueError(f"must have different decimal and thousands marks; got {self.decimal!r} twice")
        return self

"""How a table is written in its file."""

import codecs
from typing import Literal, Self

from pydantic import Field, model_validator

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

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.decimal in self.thousands:
            raise ValueError(f"must have different decimal and thousands marks; got {self.decimal!r} twice")
        try:
            codecs.lookup(self.encoding)
        except LookupError as error:
            raise ValueError(f"must have an encoding that Python knows; got {self.encoding!r}") from error
        return self

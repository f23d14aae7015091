"""The fast way for rows of JSON in which nothing is missing, unknown or wrong."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from types import NoneType
from typing import Any

import numpy as np
import pyarrow as pa

from canopy.prepare.preprocessor import Inputs, Preprocessor, Vocabulary
from canopy.schema import TableSchema
from canopy.schema.columns import Categorical
from canopy.schema.file_format import FileFormat
from canopy.tables.convert import is_number, to_texts
from canopy.tables.parse import LARGEST

NUMBER, CATEGORY, FURTHER = {int, float, NoneType}, {str, int, NoneType}, {str, int, float, bool, NoneType}
INTEGER = re.compile("0|-?[1-9][0-9]{0,18}")


class PlainRows:
    """Reads rows whose numbers are in their ranges and whose categories are known; it applies no policy.

    `canopy.tables.parse` takes milliseconds for a row, however little there is to do. What this class returns
    is what it would return: a test with random rows compares the two.

    Args:
        schema: The rows that are expected (`Preprocessor.restrict`), without times.
        preprocessor: What was learnt from the training rows.
    """

    def __init__(self, schema: TableSchema, preprocessor: Preprocessor) -> None:
        numeric = [schema.numeric[name] for name in preprocessor.numeric]
        self._numeric = [*preprocessor.numeric]
        self._low = np.array([max(column.low, -LARGEST) for column in numeric])
        self._high = np.array([min(column.high, LARGEST) for column in numeric])
        self._nullable = np.array([column.missing != "reject" for column in numeric], bool)
        # Name, 0/1 columns if it is written so and what reads them, code of each value.
        self._categorical = [
            (name, parts, itemgetter(*parts), code_lookup(column, vocabulary, schema.file))
            for name, vocabulary in preprocessor.categorical.items()
            for column in [schema.categorical[name]]
            for parts in [(*(column.one_hot or [name]),)]
        ]
        self._further = {*schema.keys, *schema.ignored, schema.target.column}
        nulls = {text for part in (schema.file, *schema.columns.values()) for text in part.null_values or ()}
        self._markers = np.array([float(text) for text in nulls if is_number(text)])

    def read(self, rows: Sequence[Any]) -> Inputs | None:
        """Read rows that a client sent, at least one; None if a row is not plain."""
        try:
            values = [[row[name] for name in self._numeric] for row in rows]
            codes = [self._codes(row) for row in rows]
        except (KeyError, TypeError):
            return None
        if not {*map(type, chain.from_iterable(values))} <= NUMBER:
            return None
        matrix = np.array(values, np.float64).reshape(len(rows), len(self._numeric))
        valid = (matrix >= self._low) & (matrix <= self._high)
        if not valid.all() and not (valid | np.isnan(matrix) & self._nullable).all():
            return None
        if self._markers.size and np.isin(matrix, self._markers).any():
            return None
        return Inputs(matrix, np.array(codes, np.int64).reshape(len(rows), len(self._categorical)))

    def _codes(self, row: Mapping[str, Any]) -> list[int]:
        """Give the codes of a row's categories.

        Raises:
            KeyError: If the row is not plain.
            TypeError: If it is no mapping, or a value cannot be a category.
        """
        codes, n_read = [], len(self._numeric)
        for name, parts, read, lookup in self._categorical:
            if name not in row:
                bits = read(row)
                if not {*map(type, bits)} <= NUMBER or bits.count(1) != 1 or bits.count(0) != len(bits) - 1:
                    raise KeyError
                value: Any = parts[bits.index(1)]
                n_read += len(parts)
            else:
                value = row[name]
                n_read += 1
            if type(value) not in CATEGORY:
                raise KeyError
            codes.append(lookup[value])
        if len(row) != n_read:
            further = self._further.intersection(row)
            if len(row) != n_read + len(further) or not {type(row[name]) for name in further} <= FURTHER:
                raise KeyError
        return codes


def code_lookup(column: Categorical, vocabulary: Vocabulary, file_format: FileFormat) -> dict[Any, int]:
    """Give the code of each value that a field with a known category may have in JSON."""
    known = vocabulary.values if column.one_hot is None and column.unseen == "other" else ()
    texts = pa.array([*dict.fromkeys([*(column.listed or ()), *known]), None], pa.string())
    if column.one_hot is None:
        texts = to_texts(texts, column, file_format)
    lookup: dict[Any, int] = dict(zip(texts.to_pylist(), vocabulary.encode(texts)[0].tolist(), strict=True))
    if column.missing != "category":
        del lookup[None]
    if column.one_hot is None:
        lookup |= {number: lookup[text] for text, number in integers_among(lookup).items()}
    return lookup


def integers_among(texts: Iterable[str | None]) -> dict[str, int]:
    """Find the texts that JSON may have as an integer."""
    return {text: int(text) for text in texts if text is not None and INTEGER.fullmatch(text)}

"""The fast way for rows of JSON in which nothing is missing, unknown or wrong."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from math import isnan
from types import NoneType
from typing import Any

import numpy as np
import pyarrow as pa

from canopy.prepare.preprocessor import Inputs, Preprocessor, Vocabulary
from canopy.schema import TableSchema
from canopy.schema.columns import Categorical
from canopy.schema.file_format import FileFormat
from canopy.tables.convert import to_texts
from canopy.tables.parse import LARGEST

NUMBER, CATEGORY, FURTHER = {int, float, NoneType}, {str, int, NoneType}, {str, int, float, bool, NoneType}


class PlainRows:
    """Reads rows whose numbers are in their ranges and whose categories are known; it applies no policy.

    `canopy.tables.parse` takes milliseconds for a row, however little there is to do. What this class returns
    is what it would return: a test with random rows compares the two.

    Args:
        schema: The rows that are expected (`Preprocessor.restrict`), without times.
        preprocessor: What was learnt from the training rows.
    """

    def __init__(self, schema: TableSchema, preprocessor: Preprocessor) -> None:
        numeric = {name: schema.numeric[name] for name in preprocessor.numeric}
        categorical = {name: schema.categorical[name] for name in preprocessor.categorical}
        one_hot = {name: column.one_hot for name, column in categorical.items() if column.one_hot}
        parts = [part for columns in one_hot.values() for part in columns]
        lookups = {
            name: code_lookup(column, preprocessor.categorical[name], schema.file)
            for name, column in categorical.items()
        }
        others = {name: lookup for name, lookup in lookups.items() if name not in one_hot}
        # Fields with numbers, fields with categories, all fields: of rows as the table has them, and of rows
        # that name the 0/1 column that is set.
        self._written = ([*numeric, *parts], others, {*numeric, *parts, *others})
        self._named = ([*numeric], lookups, {*numeric, *lookups})
        self._name = next(iter(one_hot), None)
        self._further = {*schema.keys, *schema.ignored, schema.target.column}
        self._n_numeric = len(numeric)
        self._low = np.array([max(column.low, -LARGEST) for column in numeric.values()] + [0.0] * len(parts))
        self._high = np.array([min(column.high, LARGEST) for column in numeric.values()] + [1.0] * len(parts))
        nullable = [column.missing != "reject" for column in numeric.values()] + [False] * len(parts)
        self._nullable = np.array(nullable, bool) if any(nullable) else None
        # Of each 0/1 column: which column it is a part of, and its code there.
        self._n_one_hot = len(one_hot)
        self._weights = np.zeros((len(parts), 2 * len(one_hot)))
        for index, (name, columns) in enumerate(one_hot.items()):
            for part in columns:
                place = parts.index(part)
                self._weights[place, [index, len(one_hot) + index]] = 1, lookups[name][part]
        found = [*one_hot, *others]
        self._order = [found.index(name) for name in lookups] if others else slice(None)
        self._markers = np.array(numbers_among(schema))

    def read(self, rows: Sequence[Any]) -> Inputs | None:
        """Read rows that a client sent, at least one; None if a row is not plain."""
        try:
            return self._read(rows)
        except (KeyError, TypeError, OverflowError):
            return None

    def _read(self, rows: Sequence[Any]) -> Inputs | None:
        is_named = self._name is not None and self._name in rows[0]
        numbers, lookups, fields = self._named if is_named else self._written
        values = [[row[name] for name in numbers] for row in rows]
        if not {*map(type, chain.from_iterable(values))} <= NUMBER:
            return None
        for row in rows:
            if len(row) != len(fields) and not self._has_further_only(row, fields):
                return None
        matrix = np.array(values, np.float64).reshape(len(rows), len(numbers))
        valid = (matrix >= self._low[: len(numbers)]) & (matrix <= self._high[: len(numbers)])
        if self._nullable is not None:
            valid |= np.isnan(matrix) & self._nullable[: len(numbers)]
        if np.count_nonzero(valid) != valid.size:
            return None
        if self._markers.size and np.isin(matrix, self._markers).any():
            return None
        given = [[row[name] for name in lookups] for row in rows]
        if not {*map(type, chain.from_iterable(given))} <= CATEGORY:
            return None
        codes = np.array(
            [[lookup[value] for lookup, value in zip(lookups.values(), row, strict=True)] for row in given],
            np.int64,
        ).reshape(len(rows), len(lookups))
        if not is_named and self._name is not None:
            bits, n_one_hot = matrix[:, self._n_numeric :], self._n_one_hot
            found = bits @ self._weights
            n_set = np.count_nonzero(found[:, :n_one_hot] == 1)
            if n_set != len(rows) * n_one_hot or np.count_nonzero(bits) != n_set:
                return None
            set_codes = found[:, n_one_hot:].astype(np.int64)
            codes = np.concatenate([set_codes, codes], axis=1)[:, self._order] if lookups else set_codes
            matrix = matrix[:, : self._n_numeric]
        return Inputs(matrix, codes)

    def _has_further_only(self, row: Mapping[str, Any], fields: set[str]) -> bool:
        """Whether all fields of a row that are not features are columns of the table too."""
        further = row.keys() - fields
        return len(row) == len(fields) + len(further) and all(
            name in self._further and type(row[name]) in FURTHER for name in further
        )


def code_lookup(column: Categorical, vocabulary: Vocabulary, file_format: FileFormat) -> dict[Any, int]:
    """Give the code of each value that a field with a known category may have in JSON."""
    listed = [*(column.listed or ())]
    if column.one_hot is None and column.unseen == "other":
        listed += vocabulary.values
    texts = pa.array([*dict.fromkeys(listed)], pa.string())
    if column.one_hot is None:
        texts = to_texts(texts, column, file_format)
    codes, _ = vocabulary.encode(texts)
    lookup: dict[Any, int] = {}
    for text, code in zip(texts.to_pylist(), codes.tolist(), strict=True):
        if text is not None:
            lookup[text] = code
            with suppress(ValueError):
                # JSON may have it as a number.
                if str(int(text)) == text and not column.one_hot:
                    lookup[int(text)] = code
    if column.missing == "category":
        lookup[None] = int(vocabulary.encode(pa.array([None], pa.string()))[0][0])
    return lookup


def numbers_among(schema: TableSchema) -> list[float]:
    """Find the numbers among the texts that mean that there is no value."""
    texts = {text for column in schema.columns.values() for text in column.null_values or ()}
    numbers = []
    for text in texts.union(schema.file.null_values):
        with suppress(ValueError):
            numbers.append(float(text))
    return [number for number in numbers if not isnan(number)]

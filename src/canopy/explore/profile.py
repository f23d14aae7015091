"""Go through a table once: exact figures of all rows, and a sample of rows for what needs whole rows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from canopy.prepare.labels import class_values
from canopy.prepare.reductions import Floats
from canopy.prepare.scaling import MICROSECONDS_PER_DAY, as_floats
from canopy.schema import TableSchema
from canopy.schema.columns import Column, Datetime, Ignored, Numeric, Target
from canopy.tables.problems import Problems
from canopy.tables.reader import open_duckdb
from canopy.tables.rows import TableReader

if TYPE_CHECKING:
    import duckdb

Codes = NDArray[np.int64]

# Values that the sample holds, and categories that are counted by class, over all columns.
N_SAMPLED = 8_000_000
N_COUNTED = 1_000_000
# Most classes.
N_CLASSES = 10_000

# Of the most frequent values of a column, which may be very many: rows of each class, most frequent first.
COUNT_BY_CLASS = """
WITH top AS MATERIALIZED (
    SELECT {column} AS value, count(*) AS total FROM rows
    GROUP BY value ORDER BY total DESC, value LIMIT {limit}
)
SELECT value, label, count(*) AS n FROM rows JOIN top ON {column} IS NOT DISTINCT FROM value
GROUP BY ALL ORDER BY any_value(total) DESC, value
"""


class Figures(NamedTuple):
    """Exact figures of a column; the last four only of a numeric one, in its unit, or a time, in days."""

    n_missing: int
    n_out_of_range: int
    n_distinct: int
    most_frequent: Any
    n_most_frequent: int
    low: float
    high: float
    mean: float
    deviation: float


@dataclass
class Profile:
    """What one pass over a table collects. Rows without a label are counted, and otherwise left out.

    Attributes:
        schema: The table, as declared.
        n_rows: Rows with a label that nothing is wrong with.
        n_unlabelled: Rows without a label.
        n_duplicates: Rows that an earlier one equals in features and label.
        classes: Value to name of each class.
        figures: Figures of each feature and of the target.
        counts: Values of each categorical column and of the target, the most frequent first, None for a
            missing one, and rows of each value and class.
        codes: Class of each row of the sample, shape (n_sampled,).
        numbers: Numbers, or days since 1970, of these rows.
        texts: Categories of these rows.
        problems: Values that no column may have; their rows are left out.
    """

    schema: TableSchema
    n_rows: int
    n_unlabelled: int
    n_duplicates: int
    classes: dict[str, str]
    figures: dict[str, Figures]
    counts: dict[str, tuple[list[Any], Codes]]
    codes: Codes
    numbers: dict[str, Floats]
    texts: dict[str, pa.Array]
    problems: Problems

    @property
    def class_counts(self) -> Codes:
        """Rows of each class, shape (n_classes,)."""
        counts: Codes = self.counts[self.schema.target.column][1].sum(axis=0)
        return counts


def read_profile(path: str, schema: TableSchema, *, seed: int) -> Profile:
    """Read a table; `seed` is that of the sample.

    Raises:
        ValueError: If the file or lines of it do not have the form of the table, or no row has a label.
    """
    reader = TableReader(path, _without_policies(schema), with_target=True)
    target = schema.target.column
    # By position, since DuckDB compares names without case; the label is one of the columns.
    columns = {name: f"column_{index}" for index, name in enumerate(schema.features)} | {target: "label"}
    with open_duckdb(on_disk=True) as connection:
        n_rows, n_unlabelled = _store(connection, reader, columns)
        if not n_rows or any(not column for column, _ in reader.problems.counts):
            reader.problems.raise_error()
        if not n_rows:
            found = f"{n_unlabelled:,} without one"
            raise ValueError(f"{path} must hold rows with a label below its header; got {found}")
        figures = {
            name: _figures(connection, column, schema.columns.get(name, schema.target))
            for name, column in columns.items()
        }
        if figures[target].n_distinct > N_CLASSES:
            raise ValueError(
                f"The target must be a class; got more than {N_CLASSES:,} different values in {target!r}. "
                "Regression does not exist yet"
            )
        labels = connection.execute("SELECT DISTINCT label FROM rows").fetchall()
        classes = class_values([label for (label,) in labels], schema)
        limit = max(1000, N_COUNTED // len(columns))
        counts = {
            name: _count_by_class(connection, columns[name], [*classes], limit=limit)
            for name in (*schema.categorical, target)
        }
        row = f"hash({', '.join(columns.values())})"
        [(n_different,)] = connection.execute(f"SELECT count(DISTINCT {row}) FROM rows").fetchall()
        share = min(1.0, max(1000, N_SAMPLED // len(columns)) / n_rows)
        drawn = f"hash(rowid, {seed}) <= {int(share * 2**64)}"
        sample = connection.sql(f"SELECT * FROM rows WHERE {drawn}").to_arrow_table()
    numbers = {name: as_floats(sample[columns[name]]) for name in schema.numeric}
    for name in schema.datetime:
        numbers[name] = as_floats(sample[columns[name]].cast(pa.int64())) / MICROSECONDS_PER_DAY
    return Profile(
        schema=schema,
        n_rows=n_rows,
        n_unlabelled=n_unlabelled,
        n_duplicates=n_rows - n_different,
        classes=classes,
        figures=figures,
        counts=counts,
        codes=_codes(sample["label"], [*classes]),
        numbers=numbers,
        texts={name: sample[columns[name]].combine_chunks() for name in schema.categorical},
        problems=reader.problems,
    )


def _store(
    connection: "duckdb.DuckDBPyConnection", reader: TableReader, columns: dict[str, str]
) -> tuple[int, int]:
    """Store the rows that have a label as the table `rows`; gives how many have one, and how many not."""
    n_rows = n_unlabelled = 0
    command = "CREATE TABLE rows AS"
    for batch in reader.valid_batches():
        rows = batch.select([*columns]).rename_columns([*columns.values()])
        labelled = rows.filter(rows["label"].is_valid())
        connection.register("labelled_rows", labelled)
        connection.execute(f"{command} SELECT * FROM labelled_rows")
        command = "INSERT INTO rows"
        n_rows += labelled.num_rows
        n_unlabelled += rows.num_rows - labelled.num_rows
    return n_rows, n_unlabelled


def _figures(connection: "duckdb.DuckDBPyConnection", column: str, declared: Column | Target) -> Figures:
    low, high, number = -np.inf, np.inf, "NULL::DOUBLE"
    if isinstance(declared, Numeric):
        low, high, number = declared.low, declared.high, column
    elif isinstance(declared, Datetime):
        number = f"epoch_us({column}) / {MICROSECONDS_PER_DAY}"
    [(n_missing, n_outside, *moments)] = connection.execute(
        f"""SELECT count(*) - count({column}), count(*) FILTER (NOT {number} BETWEEN ? AND ?),
        min({number}), max({number}), avg({number}), stddev_pop({number}) FROM rows""",
        [low, high],
    ).fetchall()
    # Of the most frequent values, the smallest.
    [values] = connection.execute(
        f"""SELECT count(*), arg_min(value, (-n, value)), max(n)
        FROM (SELECT {column} AS value, count(*) AS n FROM rows WHERE value IS NOT NULL GROUP BY value)"""
    ).fetchall()
    return Figures(n_missing, n_outside, *values, *moments)


def _count_by_class(
    connection: "duckdb.DuckDBPyConnection", column: str, classes: list[str], *, limit: int
) -> tuple[list[Any], Codes]:
    found = connection.sql(COUNT_BY_CLASS.format(column=column, limit=limit)).to_arrow_table()
    values = found["value"].combine_chunks().unique()
    counts = np.zeros((len(values), len(classes)), np.int64)
    counts[_codes(found["value"], values), _codes(found["label"], classes)] = found["n"].to_numpy()
    return values.to_pylist(), counts


def _codes(texts: pa.ChunkedArray, values: Any) -> Codes:
    codes = pc.index_in(texts, pa.array(values, pa.string())).to_numpy()
    return np.asarray(codes, np.int64)


def _without_policies(schema: TableSchema) -> TableSchema:
    """Accept what policies would reject or change, since the exploration reports it; keys are not read."""
    accepted: dict[str, dict[str, Any]] = {
        "numeric": {"missing": "mean", "range": (None, None)},
        "categorical": {"missing": "category", "unseen": "other"},
        "datetime": {"missing": "median"},
    }
    columns = {
        name: column.model_copy(update=accepted[column.kind]) if column.kind in accepted else Ignored()
        for name, column in schema.columns.items()
    }
    target = schema.target.model_copy(update={"missing": "drop"})
    return schema.model_copy(update={"columns": columns, "target": target})

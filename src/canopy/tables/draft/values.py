"""All values of a table as texts on disk, so that questions about whole columns need little memory."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from canopy.names import shorten
from canopy.schema.columns import Column, Ignored, Target
from canopy.tables.convert import to_texts
from canopy.tables.parse import Problems
from canopy.tables.reader import BATCH_ROWS, TableFile

AS_WRITTEN = Column(null_values=())


class Value(NamedTuple):
    """A value of a column, the number of rows with it, and the first of them, from 0."""

    text: str
    n: int
    row: int


@dataclass
class DraftedColumn:
    """What was found out about a column; the table `values_<index>` has each of its values once."""

    table: "TableValues"
    index: int
    name: str
    column: Column = field(default_factory=Ignored)
    # What the values are, and what a person should have a look at.
    why: str = ""
    looks: list[str] = field(default_factory=list)
    markers: set[str] = field(default_factory=set)
    n_values: int = field(init=False)
    n_filled: int = field(init=False)

    def __post_init__(self) -> None:
        self.table.connection.execute(
            f"CREATE TABLE values_{self.index} AS SELECT c{self.index} AS text, count(*) AS n, "
            f"min(rowid) AS row FROM rows WHERE c{self.index} != '' GROUP BY ALL"
        )
        self.remove([])

    @property
    def kind(self) -> str:
        return "target" if isinstance(self.column, Target) else str(getattr(self.column, "kind", ""))

    @property
    def remark(self) -> str:
        return "; ".join(filter(None, [self.why, *self.looks]))

    @property
    def n_missing(self) -> int:
        return self.table.n_rows - self.n_filled

    @property
    def is_unique(self) -> bool:
        return self.n_values == self.table.n_rows >= 10

    def declare(self, **attributes: object) -> None:
        self.column = self.column.model_copy(update=attributes)

    def query(self, query: str, *params: object) -> list[tuple[Any, ...]]:
        return self.table.connection.execute(query, params).fetchall()

    def ask(self, aggregates: str, *params: object, source: str = "values") -> tuple[Any, ...]:
        """Compute aggregates of the values, or of the numbers that they are (`source="numbers"`)."""
        return self.query(f"SELECT {aggregates} FROM {source}_{self.index}", *params)[0]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Give all values, as batches with the columns of `Value`."""
        # A connection of its own, since tables are written meanwhile.
        with self.table.connection.cursor() as cursor:
            yield from cursor.sql(f"FROM values_{self.index}").to_arrow_reader(BATCH_ROWS)

    def store_numbers(self, convert: Callable[[pa.Array], pa.Array]) -> None:
        """Write the numbers of the column to the table `numbers_<index>`: `text`, `n`, `row`, `number`."""
        connection, name = self.table.connection, f"numbers_{self.index}"
        connection.execute(f"CREATE TEMP TABLE {name} (text VARCHAR, n BIGINT, row BIGINT, number DOUBLE)")
        for batch in self.batches():
            connection.register("batch", batch.append_column("number", convert(batch["text"])))
            connection.execute(f"INSERT INTO {name} FROM batch WHERE isfinite(number)")

    def first(self, n: int, *, order: str = "row") -> list[Value]:
        return [Value(*row) for row in self.query(f"FROM values_{self.index} ORDER BY {order} LIMIT {n}")]

    def which(self, texts: Collection[str]) -> set[str]:
        """Find which of some texts the column has."""
        (found,) = self.ask("list(text) FILTER (list_contains(?, text))", [*texts])
        return {*(found or ())}

    def remove(self, texts: Collection[str]) -> None:
        """Take texts that mean "no value" out of the values."""
        self.markers |= {*texts}
        self.query(f"DELETE FROM values_{self.index} WHERE list_contains(?, text)", [*texts])
        self.n_values, self.n_filled = self.ask("count(*), coalesce(sum(n), 0)")


class TableValues:
    """The values of a table in a database on disk: `rows` has the columns `c0`, `c1`, ..."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, files: Sequence[TableFile]) -> None:
        self.connection, self.files, self.names = connection, files, files[0].names
        self.unusable = {name: form for file in files for name, form in file.unusable.items()}
        self.n_rows = 0
        columns = ", ".join(f"c{index} VARCHAR" for index in range(len(self.names)))
        connection.execute(f"BEGIN; CREATE TABLE rows ({columns})")
        for file in files:
            self._load(file)
        connection.execute("COMMIT")
        if not self.n_rows:
            raise ValueError(f"{files[0].path} must hold rows below its header; got none")
        self.columns = [DraftedColumn(self, index, name) for index, name in enumerate(self.names)]

    def _load(self, file: TableFile) -> None:
        if other := {*file.names} ^ {*self.names}:
            first = self.files[0].path
            raise ValueError(f"{file.path} must have the columns of {first}; got {min(other)!r} in one only")
        usable = {name: f"c{index}" for index, name in enumerate(self.names) if name not in self.unusable}
        for batch in file.batches([*usable]):
            texts = [to_texts(values, AS_WRITTEN, file.file_format) for values in batch]
            self.connection.register("batch", pa.table(texts, [*usable.values()]))
            self.connection.execute("INSERT INTO rows BY NAME FROM batch")
            self.n_rows += batch.num_rows
        if file.file_format.ragged == "reject":
            problems = Problems()
            problems.add_lines(file.line_errors)
            problems.raise_error("Correct them, or leave them out: --file ragged=drop")


def n_rows(n: int) -> str:
    return "1 row" if n == 1 else f"{n:,} rows"


def quote_all(values: Sequence[Value]) -> str:
    """Write the first three values for a message."""
    texts = [repr(shorten(value.text, length=24)) for value in values[:3]]
    return ", ".join([*texts, *["..."] * (len(values) > 3)])

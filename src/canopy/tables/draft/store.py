"""All values of a table as texts on disk, so that questions about whole columns need little memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from canopy.schema.columns import Column
from canopy.schema.file_format import FileFormat
from canopy.tables.convert import to_texts
from canopy.tables.reader import BATCH_ROWS, TableFile
from canopy.tables.rows import Problems

AS_WRITTEN = Column(null_values=())
TRIMMED = FileFormat(trim=True)


class Value(NamedTuple):
    """A value of a column.

    Attributes:
        text: The value.
        n: Number of rows with it.
        row: The first of them, from 0.
    """

    text: str
    n: int
    row: int


@dataclass
class ColumnStore:
    """The values of a table in a database.

    The table `rows` has the columns `c0`, `c1`, ...; `values_0` has each value of column 0 once, with `n` and
    `row` as in `Value`.

    Args:
        connection: A database on disk.
        files: The files of the table.

    Attributes:
        names: The columns.
        n_rows: Number of rows.
        trimmed: Whether there were blanks around a value.
        nested: Columns with lists, structures or binary data, which have no values here.

    Raises:
        ValueError: If a file has other columns than the first one, lines of another form, or there is no row.
    """

    connection: duckdb.DuckDBPyConnection
    files: Sequence[TableFile]
    names: list[str] = field(init=False)
    n_rows: int = 0
    trimmed: bool = False
    nested: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.names = self.files[0].names
        columns = ", ".join(f"c{index} VARCHAR" for index in range(len(self.names)))
        self.connection.execute(f"BEGIN; CREATE TABLE rows ({columns})")
        self.first_rows = [self._load(file) for file in self.files]
        self.connection.execute("COMMIT")
        if not self.n_rows:
            raise ValueError(f"{self.files[0].path} must hold rows below its header; got none")
        for index in range(len(self.names)):
            self.connection.execute(
                f"CREATE TABLE values_{index} AS SELECT c{index} AS value, count(*) AS n, "
                f"min(rowid) AS row FROM rows WHERE c{index} != '' GROUP BY ALL"
            )

    def _load(self, file: TableFile) -> int:
        if other := set(file.names) ^ set(self.names):
            raise ValueError(
                f"{file.path} must have the columns of {self.files[0].path}; got {min(other)!r} "
                "in one of them only"
            )
        first_row = self.n_rows
        for batch in file.batches(self.names):
            texts = [self._texts(name, values) for name, values in zip(self.names, batch, strict=True)]
            columns = {f"c{index}": values for index, values in enumerate(texts)}
            self.connection.register("batch", pa.table(columns))
            self.connection.execute("INSERT INTO rows SELECT * FROM batch")
            self.n_rows += batch.num_rows
        if file.file_format.ragged == "reject":
            problems = Problems()
            problems.add_line_errors(file)
            try:
                problems.raise_error()
            except ValueError as error:
                raise ValueError(f"{error}\nCorrect them, or leave them out: --file ragged=drop") from error
        return first_row

    def _texts(self, name: str, values: pa.Array) -> pa.Array:
        if pa.types.is_nested(values.type) or pa.types.is_binary(values.type):
            self.nested.add(name)
            return pa.nulls(len(values), pa.string())
        texts = to_texts(values, AS_WRITTEN, TRIMMED)
        if not self.trimmed and (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
            self.trimmed = bool(pc.any(pc.not_equal(texts, values.cast(pa.string()))).as_py())
        return texts

    def row(self, query: str, *params: object) -> tuple[Any, ...]:
        """Give the first row of a query's result."""
        found = self.connection.execute(query, params).fetchone()
        assert found is not None, "an aggregate has one row"
        return found

    def values(self, index: int) -> Iterator[pa.RecordBatch]:
        """Give each value of a column once, as batches of `value`, `n` and `row`."""
        # One of its own, since tables are written meanwhile.
        with self.connection.cursor() as cursor:
            yield from cursor.sql(f"FROM values_{index}").to_arrow_reader(BATCH_ROWS)

    def first(self, index: int, n: int, *, order: str = "row") -> list[Value]:
        """Give the first values of a column."""
        found = self.connection.execute(f"FROM values_{index} ORDER BY {order} LIMIT {n}").fetchall()
        return [Value(*row) for row in found]

    def which(self, index: int, texts: Sequence[str]) -> set[str]:
        """Find which of some texts a column has."""
        query = f"SELECT value FROM values_{index} WHERE list_contains(?, value)"
        return {text for (text,) in self.connection.execute(query, [[*texts]]).fetchall()}

    def remove(self, index: int, texts: Sequence[str]) -> None:
        """Take texts that mean "no value" out of the values of a column."""
        self.connection.execute(f"DELETE FROM values_{index} WHERE list_contains(?, value)", [[*texts]])

    def line(self, row: int) -> int:
        """Find the line of a row in its file, from 1."""
        file, first_row = [pair for pair in zip(self.files, self.first_rows, strict=True) if pair[1] <= row][
            -1
        ]
        return file.lines([row - first_row])[0]

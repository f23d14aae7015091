"""Read the rows of a table, each value checked; collect what is wrong with them, find those that repeat."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from canopy.names import nearest
from canopy.schema.table import TableSchema
from canopy.tables.convert import Bools
from canopy.tables.parse import N_SHOWN, Problem, Problems, parse
from canopy.tables.reader import TableFile
from canopy.tables.text import find_files, own_format

log = logging.getLogger(__name__)


class TableReader:
    """The rows of a table, in one file or several (`find_files`); `problems` is what is wrong with them.

    Files must have the target; or, for predictions (`with_target=False`), it is read as it is, any value
    allowed, where all files have it, and files may lack the schema's keys, not the further `keys`; each may
    have a format of its own.
    """

    def __init__(
        self,
        pattern: str | Path,
        schema: TableSchema,
        *,
        with_target: bool,
        keys: Sequence[str] = (),
        n_shown: int | None = N_SHOWN,
    ) -> None:
        # With labels, it is the table of the stages.
        hint = 'run "make repro" first' if with_target else None
        paths = find_files(pattern, hint=hint)
        formats = [schema.file if with_target else own_format(path, schema.file) for path in paths]
        self.files = [*map(TableFile, paths, formats)]
        target = schema.target.column
        self.has_target = all(target in file.names for file in self.files)
        if not with_target:
            absent = {key for key in schema.keys if not all(key in file.names for file in self.files)}
            if absent := absent.difference(keys):
                log.warning("Columns that name rows are missing: %s", ", ".join(map(repr, sorted(absent))))
            schema = schema.without(absent)
        schema = schema.with_keys([*keys, *([target] if self.has_target and not with_target else [])])
        self.schema, self.with_target = schema, with_target
        weights = [schema.weight] if with_target and schema.weight else []
        read = [*schema.features, *schema.keys, *weights, *([target] if with_target else [])]
        self.columns = [column for name in read for column in schema.file_columns(name)]
        for file in self.files:
            self._check_columns(file)
        self.problems = Problems(n_shown)

    def _check_columns(self, file: TableFile) -> None:
        known = {*self.columns, *self.schema.ignored, self.schema.weight, self.schema.target.column}
        unknown = [name for name in file.names if name not in known]
        if missing := [name for name in self.columns if name not in file.names]:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            got = f"{len(file.names)} columns without it{nearest(missing[0], unknown)}"
            if len(file.names) == 1:
                got = f"only {file.names[0][:60]!r}: set table.file.delimiter"
            raise ValueError(f"{file.path} must have the column {missing[0]!r}{more}; got {got}")
        if unknown:
            shown = ", ".join(map(repr, unknown[:N_SHOWN]))
            log.warning("%s: columns that table.columns does not list are ignored: %s", file.path, shown)

    def valid_batches(self) -> Iterator[pa.RecordBatch]:
        """Read the rows that nothing is wrong with (`canopy.tables.parse.Parsed`), in order."""
        problems = self.problems
        for file in self.files:
            first_row = 0
            found: list[tuple[int, str, str, str]] = []
            for batch in file.batches(self.columns):
                parsed = parse(batch, self.schema, with_target=self.with_target, n_shown=problems.n_shown)
                for name, requirement, rows, values in parsed.violations:
                    n_free = problems.count(name, requirement, len(rows))
                    for row, value in zip((rows[:n_free] + first_row).tolist(), values, strict=False):
                        found.append((row, name, requirement, value))
                first_row += batch.num_rows
                if (valid := parsed.valid_rows()).num_rows:
                    yield valid
            lines = file.lines([row for row, *_ in found])
            problems.shown += [Problem(str(file.path), lines[row], *rest) for row, *rest in found]
            if self.schema.file.ragged == "reject":
                problems.add_lines(file.line_errors)
            elif file.line_errors:
                log.warning("%s: %d lines of another form are dropped", file.path, len(file.line_errors))


def read_table(
    pattern: str | Path, schema: TableSchema, *, problems: Problems | None = None
) -> Iterator[pa.RecordBatch]:
    """Read the rows (`Parsed`) of a table; a ValueError at the end if anything was wrong, or none there.

    With `problems`, what is wrong is added to them instead, and there need not be rows.
    """
    reader = TableReader(pattern, schema, with_target=True)
    n_rows = 0
    for batch in reader.valid_batches():
        n_rows += batch.num_rows
        yield batch
    if problems is not None:
        problems.merge(reader.problems)
        return
    reader.problems.raise_error()
    if not n_rows:
        raise ValueError(f"{pattern} must hold rows below its header; got none")


class FirstRows:
    """Finds which rows of a table no earlier row equals, batch by batch."""

    def __init__(self) -> None:
        # Hashes, ascending, and an end that is greater than all. Of ten million different rows, two have the
        # same one with a probability of 1 in 400,000.
        self._seen = np.array([np.iinfo(np.uint64).max], np.uint64)

    def __call__(self, rows: pa.RecordBatch) -> Bools:
        # Here, since only tables whose repeated rows are dropped need it.
        import pandas as pd

        # 0 and -0 are equal.
        columns = [pc.add(values, 0.0) if pa.types.is_floating(values.type) else values for values in rows]
        frame = pa.table(columns, rows.schema.names).to_pandas()
        hashes, first = np.unique(pd.util.hash_pandas_object(frame, index=False), return_index=True)
        places = np.searchsorted(self._seen, hashes)
        is_new = self._seen[places] != hashes
        self._seen = np.insert(self._seen, places[is_new], hashes[is_new])
        found = np.zeros(rows.num_rows, bool)
        found[first[is_new]] = True
        return found

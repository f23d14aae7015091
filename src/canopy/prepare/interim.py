"""The tables that one stage hands to the next, and what their columns are."""

import csv
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from canopy.engines import Engine
from canopy.files import atomic_folder, atomic_write
from canopy.names import match_columns, shorten
from canopy.places import require_file
from canopy.prepare.preprocessor import OTHER, Preprocessor
from canopy.schema import TableSchema
from canopy.tables.chunks import read_chunks
from canopy.tables.reader import BATCH_ROWS

Codes = NDArray[np.signedinteger[Any]]

# In parentheses, since a table may have a column of the name alone.
SPLIT_COLUMN = "(split)"
# Of rows that belong to none: in the gap between two splits, or after the fold that tests.
NO_SPLIT = "none"


def table_schema(params: DictConfig) -> TableSchema:
    return TableSchema.parse(OmegaConf.to_container(params.table))  # type: ignore[arg-type]


def dropped_columns(params: DictConfig, schema: TableSchema) -> set[str]:
    """Find what `drop_columns.columns` names: columns, or 0/1 columns of one."""
    names = dict.fromkeys((*schema.columns, *schema.all_file_columns))
    dropped = {*match_columns([*names], params.drop_columns.columns)}
    # A column of which every part is dropped is dropped.
    return dropped | {name for name in schema.categorical if dropped.issuperset(schema.file_columns(name))}


def kept_schema(params: DictConfig) -> TableSchema:
    """Describe the table without the dropped columns; dropped 0/1 columns are no categories of it."""
    schema = table_schema(params)
    dropped = dropped_columns(params, schema)
    kept = schema.without(dropped)
    columns = dict(kept.columns)
    for name, column in kept.categorical.items():
        if column.one_hot is not None and not dropped.isdisjoint(column.one_hot):
            parts = {part: text for part, text in column.one_hot.items() if part not in dropped}
            columns[name] = column.model_copy(update={"one_hot": parts})
    return kept.model_copy(update={"columns": columns})


def closed_schema(schema: TableSchema, preprocessor: Preprocessor) -> TableSchema:
    """List the categories that were learnt for columns that reject all others."""
    columns = dict(schema.columns)
    for name, column in schema.categorical.items():
        values = preprocessor.categorical[name].values if name in preprocessor.categorical else ()
        # Where rare categories became another one, they are not known any more.
        if column.unseen == "reject" and column.listed is None and values and OTHER not in values:
            columns[name] = column.model_copy(update={"categories": {value: value for value in values}})
    return schema.model_copy(update={"columns": columns})


def interim_path(params: DictConfig, stage: str) -> Path:
    return Path(params.paths.interim) / f"{stage}.{params.paths.format}"


def kept_types(schema: TableSchema) -> dict[str, pa.DataType]:
    """Type of each column in the table of `drop_columns`: features, weights if there are any, the target."""
    return {
        **dict.fromkeys(schema.numeric, pa.float64()),
        **dict.fromkeys(schema.categorical, pa.string()),
        **dict.fromkeys(schema.datetime, pa.timestamp("us")),
        **({schema.weight: pa.float64()} if schema.weight else {}),
        schema.target.column: pa.float64() if schema.target.is_numeric else pa.string(),
    }


def scaled_types(preprocessor: Preprocessor, schema: TableSchema) -> dict[str, pa.DataType]:
    """Type of each column in the table of `normalize`: features, weights, the target, the split."""
    return {
        **dict.fromkeys(preprocessor.feature_names, pa.float32()),
        **dict.fromkeys(preprocessor.categorical, pa.string()),
        **dict.fromkeys(preprocessor.indicator_names.values(), pa.int8()),
        **({schema.weight: pa.float64()} if schema.weight else {}),
        schema.target.column: pa.string() if preprocessor.target is None else pa.float32(),
        SPLIT_COLUMN: pa.string(),
    }


@contextmanager
def new_table(path: Path, n_parts: int) -> Iterator[list[Path]]:
    """Give the path to write each part of a table to; the table appears when the block ends.

    It is a file, or a folder of several.
    """
    if n_parts > 1:
        with atomic_folder(path) as folder:
            yield [folder / _part_name(path, part) for part in range(n_parts)]
        return
    with atomic_write(path) as file:
        yield [file]
        if path.is_dir():
            shutil.rmtree(path)


def _part_name(path: Path, part: int) -> str:
    return f"{part:05d}{path.suffix}"


def part_paths(path: Path) -> list[Path]:
    """Find the files of a table that a stage wrote, one for each file of the raw table, in their order."""
    if path.is_dir():
        files = sorted(path.glob(f"[0-9]*{path.suffix}"), key=lambda file: (len(file.name), file.name))
        names = [_part_name(path, part) for part in range(len(files))] or [_part_name(path, 0)]
        if absent := [name for name in names if not (path / name).is_file()]:
            raise ValueError(
                f'{path} must hold a file for each of the raw table; found no {absent[0]}: run "make repro"'
            )
        return files
    require_file(path, name="The table ", hint='run "make repro" first')
    return [path]


def read_rows(path: Path, columns: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    """Read columns of these types from a table that a stage wrote, or from a part of it."""
    for part in part_paths(path):
        yield from _read_part(part, columns)


def _read_part(path: Path, columns: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    try:
        batches: Iterator[pa.RecordBatch]
        if path.suffix == ".parquet":
            # Here, since most tables are CSV.
            import pyarrow.parquet as pq

            batches = pq.ParquetFile(path).iter_batches(BATCH_ROWS, columns=[*columns])
        else:
            with path.open(encoding="utf-8", newline="") as file:
                names = next(csv.reader(file), [])
            batches = read_chunks(path, names, columns)
        for batch in batches:
            yield batch.select([*columns]).cast(pa.schema(columns))
    except (ValueError, KeyError) as error:
        raise ValueError(f'{path} is damaged: {shorten(error)}; run "make repro"') from error


def read_codes(path: Path, *names: str) -> list[tuple[Codes, list[str]]]:
    """Read columns of few values as one small integer per row, and the value of each integer."""
    return merge_codes([_part_codes(names, part) for part in part_paths(path)])


def read_parts(path: Path, *names: str, engine: Engine) -> "Parts":
    """Read columns as `read_codes` does, by an engine, and how many rows each part of the table has."""
    found = [*engine.map(partial(_part_codes, names), part_paths(path))]
    return Parts(merge_codes(found), [len(columns[0][0]) for columns in found])


class Parts(NamedTuple):
    """Columns of a table as `read_codes` gives them, and the number of rows of each part."""

    columns: list[tuple[Codes, list[str]]]
    sizes: list[int]

    @property
    def slices(self) -> list[slice]:
        """Where the rows of each part are."""
        return [slice(end - size, end) for end, size in zip(accumulate(self.sizes), self.sizes, strict=True)]


def _part_codes(names: Sequence[str], path: Path) -> list[tuple[Codes, list[str]]]:
    return encode(_read_part(path, dict.fromkeys(names, pa.string())), *names)


def merge_codes(parts: Sequence[list[tuple[Codes, list[str]]]]) -> list[tuple[Codes, list[str]]]:
    """Join the codes of parts, a list of columns each, to those of the whole table."""
    merged = []
    for columns in zip(*parts, strict=True):
        known: dict[str, int] = {}
        codes = []
        for found, values in columns:
            places = [known.setdefault(value, len(known)) for value in values]
            is_same = places == [*range(len(values))]
            codes.append(found if is_same else np.array(places, np.min_scalar_type(-len(known)))[found])
        merged.append((np.concatenate(codes) if len(codes) > 1 else codes[0], [*known]))
    return merged


def encode(batches: Iterable[pa.RecordBatch], *names: str) -> list[tuple[Codes, list[str]]]:
    """Give text columns of few values as `read_codes` does."""
    values: dict[str, dict[str, int]] = {name: {} for name in names}
    codes: dict[str, list[Codes]] = {name: [np.empty(0, np.int8)] for name in names}
    for batch in batches:
        for name, known in values.items():
            found = batch[name].dictionary_encode("encode")
            places = [known.setdefault(value, len(known)) for value in found.dictionary.to_pylist()]
            kind = np.min_scalar_type(-len(known))
            codes[name].append(np.array(places, kind)[found.indices.to_numpy()])
    pa.default_memory_pool().release_unused()  # the batches, before the caller takes memory
    return [(np.concatenate(codes[name]), [*known]) for name, known in values.items()]


def count_codes(codes: Codes, n: int) -> list[int]:
    """Count the rows with each of `n` codes; `numpy.bincount` would take eight bytes per row for it."""
    return [int(np.count_nonzero(codes == code)) for code in range(n)]


def zip_rows(
    batches: Iterator[pa.RecordBatch], name: str, codes: Codes, values: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Append a column that `read_codes` read."""
    start, texts = 0, pa.array(values, pa.string())
    for batch in batches:
        part = codes[start : start + batch.num_rows]
        start += batch.num_rows
        if len(part) == batch.num_rows:
            yield batch.append_column(name, texts.take(pa.array(part)))
    if start != len(codes):
        raise ValueError(
            f'There must be a {name} for each of {start:,} rows; got {len(codes):,}: run "make repro"'
        )


def replace_column(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    return batch.set_column(batch.schema.get_field_index(name), name, values)

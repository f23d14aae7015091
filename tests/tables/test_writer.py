from pathlib import Path

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings

from canopy.schema import TableSchema
from canopy.tables.rows import read_table
from canopy.tables.writer import open_writer

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=5)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.lists(st.floats(-3e38, 3e38) | st.none(), min_size=1, max_size=5),
    data=st.data(),
)
def test_what_is_read_back_is_what_was_written(
    tmp_path: Path, suffix: str, numbers: list[float | None], data: st.DataObject
) -> None:
    texts = data.draw(st.lists(TEXTS, min_size=len(numbers), max_size=len(numbers)))
    rows = pa.RecordBatch.from_pydict({"a": pa.array(numbers, pa.float64()), "b": texts, "y": texts})
    path = tmp_path / f"t.{suffix}"
    with open_writer(path, rows.schema) as write:
        write(rows.slice(0, 1))
        write(rows.slice(1))
    columns = {"a": {"kind": "numeric", "missing": "median"}, "b": {"kind": "categorical"}}
    file = {"format": suffix, "null_values": [""]}
    schema = TableSchema.parse({"target": {"column": "y"}, "columns": columns, "file": file})
    assert [row for batch in read_table(path, schema) for row in batch.to_pylist()] == rows.to_pylist()

from pathlib import Path

import pyarrow as pa
import pytest

from canopy.prepare.interim import BLOCK_BYTES, read_codes, read_interim
from canopy.tables.writer import open_writer


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_line_breaks_survive_where_a_block_ends(tmp_path: Path, suffix: str) -> None:
    # Of an odd length, so that blocks end before each of its bytes.
    value = "\r\n" * 20 + "x"
    n_rows = 5 * BLOCK_BYTES // len(value)
    path = tmp_path / f"t.{suffix}"
    rows = pa.RecordBatch.from_pydict({"a": [value] * n_rows, "b": [0.1] * n_rows})
    with open_writer(path, rows.schema) as write:
        write(rows)
    found = [*read_interim(path, {"b": pa.float64(), "a": pa.string()})]
    assert pa.Table.from_batches(found).select(["a", "b"]) == pa.Table.from_batches([rows])
    codes, values = read_codes(path, "a")
    assert (codes.tolist(), values) == ([0] * n_rows, [value])


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(ValueError, match=r"t.csv is damaged: .*Expected 2 columns, got 1.*run .make repro"):
        list(read_interim(path, {"a": pa.int8()}))
    path.write_text("a,b\n1,x\n")
    with pytest.raises(ValueError, match=r"t.csv is damaged: .*conversion error"):
        list(read_interim(path, {"b": pa.float32()}))
    with pytest.raises(ValueError, match=r"t.csv is damaged: .*'c'"):
        list(read_interim(path, {"c": pa.string()}))

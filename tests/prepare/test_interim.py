from pathlib import Path

import pyarrow as pa
import pytest
from omegaconf import DictConfig

from canopy.prepare.interim import closed_schema, read_codes, read_rows, table_schema
from canopy.prepare.preprocessor import Preprocessor, Vocabulary
from canopy.tables.chunks import CHUNK_BYTES
from canopy.tables.writer import open_writer


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_read_rows_keeps_line_breaks_where_a_block_ends(tmp_path: Path, suffix: str) -> None:
    # Of an odd length, so that blocks end before each of its bytes.
    value = "\r\n" * 20 + "x"
    n_rows = 3 * CHUNK_BYTES // len(value)
    path = tmp_path / f"t.{suffix}"
    rows = pa.RecordBatch.from_pydict({"a": [value] * n_rows, "b": [0.1] * n_rows})
    with open_writer(path, rows.schema) as write:
        write(rows)
    found = [*read_rows(path, {"b": pa.float64(), "a": pa.string()})]
    assert pa.Table.from_batches(found).select(["a", "b"]) == pa.Table.from_batches([rows])
    [(codes, values)] = read_codes(path, "a")
    assert (codes.tolist(), values) == ([0] * n_rows, [value])


def test_damaged_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(ValueError, match=r"t.csv is damaged: .*Expected 2 columns, got 1.*run .make repro"):
        list(read_rows(path, {"a": pa.int8()}))
    path.write_text("a,b\n1,x\n")
    for name, kind, message in (("b", pa.float32(), "conversion error"), ("c", pa.string(), "'c'")):
        with pytest.raises(ValueError, match=f"t.csv is damaged: .*{message}"):
            list(read_rows(path, {name: kind}))


@pytest.mark.parametrize(
    ("unseen", "learnt", "expected"),
    [
        ("reject", ("a", "b"), {"a": "a", "b": "b"}),
        ("other", ("a", "b"), "auto"),
        # A rare category is one of the others, which no list names.
        ("reject", ("a", "other"), "auto"),
    ],
)
def test_closed_schema_lists_learnt_categories_where_others_are_rejected(
    small_params: DictConfig, unseen: str, learnt: tuple[str, ...], expected: object
) -> None:
    small_params.table.columns.shape = {"kind": "categorical", "unseen": unseen}
    schema = table_schema(small_params)
    vocabularies = {"shape": Vocabulary(values=learnt), "colour": Vocabulary(values=("colour1",))}
    others = {"numeric": {}, "datetime": {}, "indicators": (), "classes": ("1", "2")}
    found = closed_schema(schema, Preprocessor(categorical=vocabularies, **others)).categorical
    assert found["shape"].categories == expected
    assert found["colour"] == schema.categorical["colour"]

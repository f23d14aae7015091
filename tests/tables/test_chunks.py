import codecs
import csv
import gzip
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canopy.schema.table import FileFormat
from canopy.tables import chunks
from canopy.tables.chunks import read_chunks
from canopy.tables.reader import TableFile

TEXTS = pa.string()


def rows_of(batches: Any) -> list[tuple[str | None, ...]]:
    return [row for batch in batches for row in zip(*batch.to_pydict().values(), strict=True)]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 64)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(
    rows=st.lists(
        st.tuples(*[st.text(st.sampled_from('ab,"\n\r é'), min_size=1, max_size=6)] * 2), min_size=1
    )
)
@pytest.mark.usefixtures("small_chunks")
def test_a_chunk_ends_where_a_record_ends(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    path = tmp_path / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("a\n,", "b"), *rows])
    assert rows_of(read_chunks(path, ["a\n,", "b"], {"a\n,": TEXTS, "b": TEXTS})) == rows


def test_a_row_is_no_longer_than_a_chunk(tmp_path: Path, small_chunks: None) -> None:
    (tmp_path / "t.csv").write_text(f"a,b\n1,{'x' * 2000}\n")
    with pytest.raises(ValueError, match="a row of more than 64 bytes"):
        list(read_chunks(tmp_path / "t.csv", ["a", "b"], {"a": TEXTS}))


LINES = [f"{number},é{number}," for number in range(4000)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inserted", "n_rows", "n_errors", "is_plain"),
    [
        ([], 0, 0, True),
        (['"1","x,y",'], 1, 0, False),
        (['1,"x', 'y",'], 1, 0, False),
        (["1"], 0, 1, False),
        (["1,2,3,4", "", "5,6"], 0, 2, False),
        ([b"1,\xff,2"], 0, 1, False),
        ([""], 0, 0, True),
    ],
)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.usefixtures("small_chunks")
def test_both_readers_read_the_same(
    tmp_path: Path, inserted: list[str | bytes], n_rows: int, n_errors: int, is_plain: bool, line_end: bytes
) -> None:
    lines = ["a,b,c", *LINES[:2000], *inserted, *LINES[2000:]]
    encoded = [line if isinstance(line, bytes) else line.encode() for line in lines]
    mark = codecs.BOM_UTF8 if line_end == b"\r\n" else b""
    path, n_plain = tmp_path / "t.csv", 0
    path.write_bytes(mark + line_end.join(encoded) + line_end)
    with suppress(ValueError):
        for batch in read_chunks(path, ["a", "b", "c"], {"a": TEXTS}, forbidden=b'"'):
            n_plain += batch.num_rows
    assert n_plain == len(LINES) if is_plain else 0 < n_plain <= 2000
    # DuckDB reads what is compressed.
    compressed = tmp_path / "t.csv.gz"
    compressed.write_bytes(gzip.compress(path.read_bytes()))
    file, other = TableFile(path, FileFormat()), TableFile(compressed, FileFormat())
    found = rows_of(file.batches(["c", "a", "b"]))
    assert found == rows_of(other.batches(["c", "a", "b"]))
    assert [error[1:] for error in file.line_errors] == [error[1:] for error in other.line_errors]
    assert (len(found), len(file.line_errors)) == (len(LINES) + n_rows, n_errors)

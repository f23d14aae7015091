import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canopy.schema.file_format import FileFormat
from canopy.tables import chunks, reader
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
    ("name", "inserted", "n_errors"),
    [
        ("plain", [], 0),
        ("quoted", ['"1","x,y",'], 0),
        ("quoted line break", ['1,"x', 'y",'], 0),
        ("too few values", ["1"], 1),
        ("too many values", ["1,2,3,4", "", "5,6"], 2),
        ("a byte of another encoding", [b"1,\xff,2"], 1),
        ("an empty line", [""], 0),
    ],
)
@pytest.mark.parametrize(("line_end", "mark"), [(b"\n", b""), (b"\r\n", b"\xef\xbb\xbf")])
def test_both_readers_read_the_same(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_chunks: None,
    name: str,
    inserted: list[str | bytes],
    n_errors: int,
    line_end: bytes,
    mark: bytes,
) -> None:
    lines = ["a,b,c", *LINES[:2000], *inserted, *LINES[2000:]]
    encoded = [line if isinstance(line, bytes) else line.encode() for line in lines]
    path = tmp_path / "t.csv"
    path.write_bytes(mark + line_end.join(encoded) + line_end)
    n_plain = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal n_plain
        for batch in read_chunks(*args, **kwargs):
            n_plain += batch.num_rows
            yield batch

    monkeypatch.setattr(reader, "read_chunks", counted)
    file, other = TableFile(path, FileFormat()), TableFile(path, FileFormat())
    found = rows_of(file.batches(["c", "a", "b"]))
    assert n_plain == len(LINES) if name in ("plain", "an empty line") else 0 < n_plain <= 2000
    # None is plain.
    monkeypatch.setattr(reader, "COMPRESSIONS", [path.suffix])
    assert found == rows_of(other.batches(["c", "a", "b"]))
    assert file.line_errors == other.line_errors
    assert len(file.line_errors) == n_errors
    assert len(found) == len(LINES) + (len(inserted) > 0 and n_errors == 0 and name != "an empty line")

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from canopy.data.dataset import load_rows
from canopy.files import sha256
from canopy.schema.tensors import SCHEMA_FILE, Schema


class Malicious:
    """Loading it with pickle would create a file."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (Path("executed"),)


@pytest.fixture
def schema(tensors: Path) -> Schema:
    return Schema.load(tensors / SCHEMA_FILE)


def test_malicious_tensor_file_executes_nothing(
    tensors: Path, schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tensors)
    torch.save({"numeric": Malicious()}, "train/00000.pt")
    hashed = replace(schema, sha256={"train/00000.pt": sha256("train/00000.pt")})
    with pytest.raises(ValueError, match="must hold the tensors of a split .*; got Weights only"):
        load_rows(tensors, "train", hashed)
    assert not Path("executed").exists()


def test_changed_or_missing_file_is_refused(tensors: Path, schema: Schema) -> None:
    content = bytearray((tensors / "train/00000.pt").read_bytes())
    content[len(content) // 2] ^= 1
    with pytest.raises(ValueError, match=r"train/00000.pt must have the 9 rows of its schema; found 300"):
        load_rows(tensors, "train", replace(schema, shards={"train": (9,)}))
    (tensors / "train/00000.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"train/00000.pt must have the SHA-256 .*; found .*make repro"):
        load_rows(tensors, "train", schema)
    (tensors / "val/00000.pt").unlink()
    with pytest.raises(FileNotFoundError, match='tensors .* must exist.*run "make repro"; or scripts'):
        load_rows(tensors, "val", schema)


def test_loaded_rows_stay_when_their_file_is_replaced(
    tensors: Path, schema: Schema, replace_rows: Callable[[Path, str, int], None]
) -> None:
    """They are mapped, not read: the file on disk is the memory."""
    rows = load_rows(tensors, "train", schema).rows
    before = [tensor.clone() for tensor in rows]
    replace_rows(tensors, "train", 300)
    assert all(torch.equal(tensor, old) for tensor, old in zip(rows, before, strict=True))
    replaced = load_rows(tensors, "train", Schema.load(tensors / SCHEMA_FILE)).rows
    assert not torch.equal(replaced.numeric, rows.numeric)


def test_schema_of_another_form_is_refused(schema: Schema, tmp_path: Path) -> None:
    path = tmp_path / "copy.json"
    schema.save(path)
    assert Schema.load(path) == schema
    for text, message in (('{"format": 0}', "have the format 3; found 0"), ("{", "be a JSON file; found")):
        path.write_text(text)
        with pytest.raises(ValueError, match=f"must {message}"):
            Schema.load(path)

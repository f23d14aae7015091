from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from canopy.data.dataset import Batch, load_rows, save_rows
from canopy.files import sha256
from canopy.schema.tensors import SCHEMA_FILE, Schema


class Malicious:
    """Loading it with pickle would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_a_malicious_tensor_file_executes_nothing(tensors: Path, tmp_path: Path) -> None:
    torch.save({"numeric": Malicious(tmp_path / "executed")}, tensors / "train.pt")
    schema = Schema.load(tensors / SCHEMA_FILE)
    schema = replace(schema, sha256={**schema.sha256, "train.pt": sha256(tensors / "train.pt")})
    with pytest.raises(
        ValueError, match="must hold the tensors of a split and nothing else; got Weights only"
    ):
        load_rows(tensors, "train", schema)
    assert not (tmp_path / "executed").exists()


def test_a_changed_file_is_refused(tensors: Path) -> None:
    content = bytearray((tensors / "train.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (tensors / "train.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"train.pt must have the SHA-256 .*; found .*make repro"):
        load_rows(tensors, "train", Schema.load(tensors / SCHEMA_FILE))


def test_loaded_rows_stay_when_a_new_file_takes_the_place_of_theirs(
    tensors: Path, replace_rows: Callable[[Path, str, int], None]
) -> None:
    """They are mapped, not read: the file on disk is the memory."""
    rows = load_rows(tensors, "train", Schema.load(tensors / SCHEMA_FILE)).rows
    before = [tensor.clone() for tensor in rows]
    replace_rows(tensors, "train", 300)
    assert all(torch.equal(tensor, old) for tensor, old in zip(rows, before, strict=True))
    replaced = load_rows(tensors, "train", Schema.load(tensors / SCHEMA_FILE)).rows
    assert not torch.equal(replaced.numeric, rows.numeric)


def test_rows_without_a_kind_of_feature_are_loaded(tensors: Path) -> None:
    rows = Batch(torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.uint8), torch.tensor([0, 2]))
    save_rows(rows, tensors / "val.pt")
    schema = Schema.load(tensors / SCHEMA_FILE)
    schema = replace(schema, sha256={**schema.sha256, "val.pt": sha256(tensors / "val.pt")})
    found = load_rows(tensors, "val", schema).rows
    assert [tensor.shape for tensor in found] == [(2, 0), (2, 0), (2,)]
    assert found.labels.tolist() == [0, 2]


def test_missing_files_name_the_way_out(tmp_path: Path, tensors: Path) -> None:
    with pytest.raises(FileNotFoundError, match='absent.json must exist.*run "make repro", for another'):
        Schema.load(tmp_path / "absent.json")
    (tensors / "val.pt").unlink()
    with pytest.raises(FileNotFoundError, match='tensors .* must exist.*run "make repro", for another'):
        load_rows(tensors, "val", Schema.load(tensors / SCHEMA_FILE))


def test_the_schema_is_read_as_it_was_written(tensors: Path, tmp_path: Path) -> None:
    schema = Schema.load(tensors / SCHEMA_FILE)
    schema.save(tmp_path / "copy.json")
    assert Schema.load(tmp_path / "copy.json") == schema
    assert (schema.n_classes, schema.cardinalities) == (3, (3,))
    (tmp_path / "copy.json").write_text('{"format": 0}')
    with pytest.raises(ValueError, match="must have the format 2; found 0"):
        Schema.load(tmp_path / "copy.json")
    (tmp_path / "copy.json").write_text("{")
    with pytest.raises(ValueError, match="must be a JSON file; found Expecting"):
        Schema.load(tmp_path / "copy.json")

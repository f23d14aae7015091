from pathlib import Path

import pytest
import torch

from canopy.training.checkpoint import SafeCheckpointIO, load_checkpoint
from packages import Payload


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.ckpt"


def test_save_is_atomic(path: Path) -> None:
    SafeCheckpointIO().save_checkpoint({"epoch": 3, "weights": torch.ones(2)}, path)
    with pytest.raises(AttributeError, match="local object"):
        SafeCheckpointIO().save_checkpoint({"epoch": lambda: 2}, path)
    loaded = load_checkpoint(path)
    assert (loaded["epoch"], loaded["weights"].tolist()) == (3, [1, 1])
    assert [entry.name for entry in path.parent.iterdir()] == ["a.ckpt"]


@pytest.mark.parametrize("asked", [None, True, False])
def test_a_malicious_checkpoint_executes_nothing(path: Path, asked: bool | None) -> None:
    torch.save({"state_dict": Payload(path.with_name("executed"))}, path)
    with pytest.raises(ValueError, match="a whole checkpoint of tensors and plain values; got"):
        SafeCheckpointIO().load_checkpoint(path, weights_only=asked)
    assert not path.with_name("executed").exists()


def test_a_damaged_or_missing_checkpoint_is_refused(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="must exist; found no such file; train first"):
        load_checkpoint(path)
    torch.save({"weights": torch.ones(1000)}, path)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (b"", content[:10], content[: len(content) // 2], content[:-10], flipped):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="must be a whole checkpoint"):
            load_checkpoint(path)

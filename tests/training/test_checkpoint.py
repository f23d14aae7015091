from pathlib import Path

import pytest
import torch
from torch import nn

from canopy.training.checkpoint import SafeCheckpointIO, load_checkpoint


class Malicious:
    """Loading it with pickle would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.ckpt"
    SafeCheckpointIO().save_checkpoint({"epoch": 3, "weights": torch.ones(2)}, path)
    loaded = SafeCheckpointIO().load_checkpoint(path)
    assert loaded["epoch"] == 3
    assert torch.equal(loaded["weights"], torch.ones(2))
    assert [entry.name for entry in path.parent.iterdir()] == ["a.ckpt"]


@pytest.mark.parametrize("asked", [None, True, False])
def test_a_malicious_checkpoint_executes_nothing(tmp_path: Path, asked: bool | None) -> None:
    torch.save({"state_dict": Malicious(tmp_path / "executed")}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="a whole checkpoint of tensors and plain values; got"):
        SafeCheckpointIO().load_checkpoint(tmp_path / "a.ckpt", weights_only=asked)
    assert not (tmp_path / "executed").exists()


def test_a_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="got Weights only load failed"):
        load_checkpoint(tmp_path / "a.ckpt")


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"weights": torch.ones(1000)}, tmp_path / "a.ckpt")
    content = (tmp_path / "a.ckpt").read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 10):
        (tmp_path / "a.ckpt").write_bytes(content[:length])
        with pytest.raises(ValueError, match="must be a whole checkpoint"):
            load_checkpoint(tmp_path / "a.ckpt")


def test_a_missing_checkpoint_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="must exist; found no such file; train first"):
        load_checkpoint(tmp_path / "a.ckpt")


def test_a_failed_save_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    SafeCheckpointIO().save_checkpoint({"epoch": 1}, path)
    with pytest.raises(AttributeError, match="local object"):
        SafeCheckpointIO().save_checkpoint({"epoch": lambda: 2}, path)
    assert load_checkpoint(path) == {"epoch": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ckpt"]

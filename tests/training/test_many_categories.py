"""A column of very many names, from its file to a trained net."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from canopy.data.dataset import Batch, load_rows
from canopy.files import sha256
from canopy.prepare.make_tensors import code_type
from canopy.schema.tensors import SCHEMA_FILE, CategoricalFeature, Schema
from canopy.tensors import save_tensors
from canopy.training.fit import prepare

pytestmark = pytest.mark.usefixtures("trusted_targets")


def save_names(folder: Path, *, n_rows: int, n_names: int) -> Schema:
    """Give the small tensors a column of random names."""
    schema = Schema.load(folder / SCHEMA_FILE)
    kind = getattr(torch, code_type([n_names]).name)
    hashes, counts = dict(schema.sha256), dict(schema.class_counts)
    for split, size in (("train", n_rows), ("val", 1000)):
        labels = torch.arange(size) % 3
        rows = Batch(torch.randn(size, 2), torch.randint(n_names, (size, 1)).to(kind), labels)
        save_tensors(rows._asdict(), folder / f"{split}.pt")
        hashes[f"{split}.pt"] = sha256(folder / f"{split}.pt")
        counts[split] = tuple(torch.bincount(labels).tolist())
    names = CategoricalFeature(name="name", categories=tuple(f"name {code}" for code in range(n_names)))
    schema = replace(schema, categorical=(names,), class_counts=counts, sha256=hashes)
    schema.save(folder / SCHEMA_FILE)
    return schema


@pytest.mark.parametrize(
    ("n_rows", "n_names", "code_bytes"),
    [
        (2_000, 101, 1),
        (4_000, 5_000, 2),
        pytest.param(1_000_000, 100_000, 4, marks=pytest.mark.long),
    ],
)
def test_a_net_trains_on_a_column_of_many_names(
    train_config: DictConfig, tensors: Path, n_rows: int, n_names: int, code_bytes: int
) -> None:
    torch.manual_seed(0)
    rows = load_rows(tensors, "train", save_names(tensors, n_rows=n_rows, n_names=n_names))
    # Of a row: two numbers of 4 bytes, a code, a label of 8 bytes.
    assert rows.n_bytes == n_rows * (8 + code_bytes + 8)
    assert (tensors / "train.pt").stat().st_size < rows.n_bytes + 4096
    train_config.trainer.max_epochs = 1
    train_config.data.batch_size = n_rows // 10
    run = prepare(train_config)
    (embed,) = run.model.net.features.category_embeddings
    before = embed.weight.detach().clone()
    run.fit(None)
    moved = (embed.weight.detach() != before).any(dim=1)
    # Those of the training rows learn; weights decay without them too.
    assert moved[rows.rows.categorical[:, 0].long()].all()

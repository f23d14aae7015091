"""What is fitted to rows with weights: the loss, trees, shares of members, baselines."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from catboost import CatBoostClassifier
from lightning import Trainer
from torch import nn

from canopy.baselines.baselines import BASELINES, Fitted
from canopy.baselines.rows import Rows
from canopy.data.dataset import Batch, TensorRows
from canopy.nets.ensemble import Ensemble
from canopy.nets.mlp import MLP
from canopy.nets.trees import Trees
from canopy.schema.tensors import SCHEMA_FILE, Schema
from canopy.tasks.losses import focal_loss
from canopy.tasks.task import task_of
from canopy.training.callbacks.member_selection import choose_weights
from canopy.training.model import TabularModel

NUMBER: dict[str, Any] = {
    "class_values": (),
    "class_names": (),
    "target_scaling": {"kind": "affine", "method": "z_score", "center": 0.0, "scale": 1.0},
}


@pytest.fixture
def schema(tensors: Path) -> Schema:
    found = Schema.load(tensors / SCHEMA_FILE)
    return replace(found, weight_sums=dict.fromkeys(found.class_counts, (300.0, 20.0, 10.0)))


@pytest.fixture
def rows() -> Batch:
    generator = torch.Generator().manual_seed(0)
    numeric, weights = torch.randn(50, 2, generator=generator), torch.arange(50) % 4
    return Batch(numeric, torch.arange(50)[:, None] % 3, torch.arange(50) % 3, weights.float())


def repeat(rows: Batch) -> Batch:
    """Give rows as often as they weigh, without weights."""
    return Batch(*(part.repeat_interleave(rows.weights.long(), dim=0) for part in rows[:3]))


def make(schema: Schema, **options: Any) -> TabularModel:
    torch.manual_seed(0)
    net = options.pop("net", partial(MLP, hidden=[4]))
    model = TabularModel(schema=schema, net=net, optimizer=partial(torch.optim.SGD, lr=0.1), **options)
    model.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    model.log = lambda *_, **__: None  # type: ignore[method-assign,assignment]
    return model


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"class_weights": {"Apple": 1, "Pear": 3, "Plum": 0.5}},
        {"class_weights": "balanced", "loss": focal_loss},
        {"net": partial(Ensemble, n_members=3, member=partial(MLP, hidden=[4]))},
        {"number": True},
        {"number": True, "loss": nn.functional.huber_loss},
    ],
)
def test_loss_is_that_of_repeated_rows(schema: Schema, rows: Batch, options: dict[str, Any]) -> None:
    if options.pop("number", False):
        schema, rows = replace(schema, **NUMBER), rows._replace(labels=rows.labels.float())
    model = make(schema, **options)
    weighted, repeated = (model.training_step(batch, 0) for batch in (rows, repeat(rows)))
    torch.testing.assert_close(weighted, repeated)
    assert (weighted - model.training_step(Batch(*rows[:3]), 0)).abs() > 0.001


def test_balanced_classes_and_weights_of_rows_are_multiplied(schema: Schema) -> None:
    model = make(schema, class_weights="balanced")
    torch.testing.assert_close(model.class_weights, torch.tensor([330 / 3 / n for n in (300, 20, 10)]))


def test_rows_of_weight_zero_teach_nothing(schema: Schema, rows: Batch) -> None:
    model = make(schema)
    loss = model.training_step(rows._replace(weights=torch.zeros(50)), 0)
    loss.backward()
    assert loss == 0
    assert all(part.grad.eq(0).all() for part in model.net.parameters() if part.grad is not None)


def test_a_loss_without_reduction_is_refused(schema: Schema) -> None:
    with pytest.raises(ValueError, match=r"must take `reduction` with .* a column of kind weight"):
        make(schema, loss=lambda logits, labels: logits.sum())


def test_a_batch_keeps_weights_or_none(rows: Batch) -> None:
    for batch, shape in ((rows, (7,)), (Batch(*rows[:3]), (7, 0))):
        few = TensorRows(batch)[torch.arange(7)]
        assert (type(few), few.weights.shape) == (Batch, shape)
        assert few._replace(labels=few.labels + 1).weights is few.weights


def test_trees_are_those_of_catboost_with_weights(rows: Batch) -> None:
    settings: dict[str, Any] = {"iterations": 8, "depth": 2, "learning_rate": 0.3}
    labels = (rows.numeric.sum(dim=1) + rows.weights > 1).long()
    rows = rows._replace(labels=labels, categorical=torch.zeros(50, 0, dtype=torch.int64))
    trees = Trees(cardinalities=[], n_outputs=2, settings=settings)
    trees.fit(rows, None, class_weights=torch.tensor([1.0, 2.0]), seed=0)
    kept = rows.weights > 0
    weights = (rows.weights * torch.tensor([1.0, 2.0])[labels])[kept].numpy()
    options = {"random_seed": 0, "thread_count": torch.get_num_threads(), "verbose": False}
    catboost = CatBoostClassifier(**settings, **options, allow_writing_files=False)
    catboost.fit(rows.numeric[kept].numpy(), labels[kept].numpy(), sample_weight=weights)
    predicted = trees(rows.numeric, rows.categorical).softmax(dim=1)
    np.testing.assert_allclose(predicted, catboost.predict_proba(rows.numeric.numpy()), atol=1e-6)


def test_shares_of_members_are_those_of_repeated_rows() -> None:
    likelihoods = torch.rand(400, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    times = torch.arange(400) % 4
    weighted = choose_weights(likelihoods, times.double(), prior=1.0)
    torch.testing.assert_close(
        weighted, choose_weights(likelihoods.repeat_interleave(times, dim=0), prior=1.0)
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in BASELINES
        for kind in ("classifier", "regressor")
        if getattr(BASELINES[name], kind)
    ],
)
def test_baselines_predict_the_weighted_mean(schema: Schema, name: str, kind: str) -> None:
    """Of rows that nothing tells apart, those of label 1 weigh nine times as much."""
    n = 200
    settings = {
        "random_forest": {"n_estimators": 20, "max_depth": 1},
        "xgboost": {"n_estimators": 30},
        "lightgbm": {"n_estimators": 30},
        "catboost": {"iterations": 30, "learning_rate": 0.3},
        "constant": {"strategy": "prior"} if kind == "classifier" else {},
    }.get(name, {})
    labels: Any = np.arange(n) % 2
    numbers = {"labels": labels.astype(np.float32)} if kind == "regressor" else {}
    features = pd.DataFrame(
        {"n0": (np.arange(n) // 2 % 2).astype(np.float32), "c0": pd.Categorical(["a"] * n)}
    )
    rows = Rows(features, labels, np.where(labels == 1, 9, 1).astype(np.float32))._replace(**numbers)
    task = task_of(replace(schema, **NUMBER) if numbers else schema)
    model = Fitted(BASELINES[name], rows, rows, task=task, seed=0, settings=settings)
    predicted = model.predict(features)[:, 0 if numbers else 1]
    assert predicted.mean() == pytest.approx(0.9, abs=0.05)

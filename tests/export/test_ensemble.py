"""The graph of an ensemble of folds: the mean of what each run gives for rows, whatever its fold has seen."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from canopy.evaluation.inference import predict_rows
from canopy.export.ensemble import FoldEnsemble, Member, unite
from canopy.nets.mlp import MLP
from canopy.prepare.fitting import Fit
from canopy.prepare.preprocessor import Preprocessor
from canopy.schema import TableSchema

COLUMNS: dict[str, dict[str, Any]] = {
    "a": {"kind": "numeric"},
    "b": {"kind": "numeric", "missing": "median"},
    "mostly_missing": {"kind": "numeric", "missing": "mean"},
    "colour": {"kind": "categorical", "missing": "category", "min_count": 3},
    "size": {"kind": "categorical"},
    "listed": {"kind": "categorical", "categories": {"z": "Z", "y": "Y", "x": "X"}},
    "day": {"kind": "datetime", "missing": "median"},
}
METHODS = {"a": "quantile_normal", "b": "z_score", "mostly_missing": "min_max"}
SCHEMA = TableSchema.parse({"target": {"column": "y"}, "columns": COLUMNS})
N_CLASSES = 3


def make_rows(random: np.random.Generator, n: int) -> pa.RecordBatch:
    def sometimes(values: Sequence[Any], share: float) -> list[Any]:
        return [None if lost else value for value, lost in zip(values, random.random(n) < share, strict=True)]

    days = random.integers(0, 3_000, n).astype("datetime64[D]").astype("datetime64[us]")
    # In part of the rows the date has one value of each part but the time.
    days[: n // 2] = np.datetime64("2020-01-01", "us")
    columns = {
        "a": pa.array(random.normal(3000, 900, n).round(1)),
        "b": pa.array(sometimes(random.exponential(5, n).tolist(), 0.2), pa.float64()),
        "mostly_missing": pa.array(sometimes(random.normal(size=n).tolist(), 0.97), pa.float64()),
        "colour": pa.array(sometimes([f"c{k}" for k in random.zipf(1.6, n) % 40], 0.1)),
        "size": pa.array([str(k) for k in random.integers(0, 60, n)]),
        "listed": pa.array(random.choice(["x", "y", "z"], n, p=[0.02, 0.08, 0.9]).tolist()),
        "day": pa.array(sometimes(days.tolist(), 0.1), pa.timestamp("us")),
    }
    return pa.RecordBatch.from_pydict(columns)


class Net(nn.Module):
    """Something like a classifier: an MLP, whose features depend on what a fold has seen."""

    device = torch.device("cpu")

    def __init__(self, preprocessor: Preprocessor) -> None:
        super().__init__()
        sizes = tuple(map(len, preprocessor.categories.values()))
        n_numeric = len(preprocessor.feature_names)
        options: dict[str, Any] = {"hidden": [8], "dropout": 0.0, "quantiles": ((0.0, 1.0),) * n_numeric}
        self.net = MLP(n_numeric=n_numeric, cardinalities=sizes, n_classes=N_CLASSES, **options)

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        logits: Tensor = self.net(numeric, categorical.long())
        return logits


def make_members(rows: pa.RecordBatch, random: np.random.Generator) -> list[Member]:
    members = []
    for fold in range(3):
        # The first fold has constant dates.
        part = rows.take(pa.array(np.flatnonzero(random.random(rows.num_rows) < 0.3)))
        fit = Fit(SCHEMA, methods=cast(Any, METHODS), seed=0)
        fit.update(part if fold else rows.slice(0, rows.num_rows // 3))
        preprocessor = fit.preprocessor(("u", "v", "w"))
        net = Net(preprocessor).eval()

        def predict(encoded: Any, net: Any = net) -> Any:
            return predict_rows(net, *map(torch.from_numpy, encoded), batch_size=100)

        predictor = SimpleNamespace(model=net, predict=predict)
        members.append(Member(cast(Any, predictor), preprocessor, 0.5 + fold))
    return members


@pytest.mark.parametrize("seed", range(8))
def test_ensemble_gives_the_mean_of_the_runs(seed: int) -> None:
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    members = make_members(make_rows(random, 120), random)
    outer = unite([member.preprocessor for member in members], SCHEMA)
    rows = make_rows(random, 300)
    expected = np.mean([member.predict(rows) for member in members], axis=0)
    with torch.inference_mode():
        found = FoldEnsemble(members, outer).eval()(*map(torch.from_numpy, outer.inputs(rows)))
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)
    different = {member.preprocessor.categorical["size"].values for member in members}
    assert len(different) == 3, "the folds must differ for this test to say anything"


def test_union_reads_what_any_fold_reads_in_the_order_of_the_table() -> None:
    random = np.random.default_rng(1)
    members = make_members(make_rows(random, 120), random)
    outer = unite([member.preprocessor for member in members], SCHEMA)
    found = [member.preprocessor for member in members]
    assert {*outer.scalings} == {name for own in found for name in own.scalings}
    assert [*outer.numeric] == [name for name in COLUMNS if name in outer.numeric]
    assert outer.categorical["listed"].values == ("z", "y", "x")
    sizes = outer.categorical["size"].values
    assert list(sizes) == sorted(sizes, key=int)
    assert outer.categorical["colour"].has_missing
    assert outer.categorical["colour"].values[-1] == "other"
    # A category that one fold alone knows is not unseen.
    rows = make_rows(random, 200)
    unseen = [own.count_unseen(rows).get("size", 0) for own in found]
    assert outer.count_unseen(rows).get("size", 0) < min(unseen)

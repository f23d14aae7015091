from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from canopy.bundle.layers import Gaps, GroupCode, ScaledColumns
from canopy.prepare.normalization import Method, Scaling, fit_scaling
from canopy.table.columns import NumericColumn, OneHotGroup
from canopy.table.spec import TableSpec
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import nn

from canopy.bundle.graph import RawClassifier, save_onnx, save_pt2, trace
from canopy.data.schema import Schema
from canopy.nets.mlp import MLP

VALUES = np.random.default_rng(0).normal(3000, 900, (500, 3)).round(1)
MODELS = sorted(path.stem for path in (Path(__file__).parents[2] / "configs/model").glob("*.yaml"))


@pytest.fixture
def scalings() -> list[Scaling]:
    methods = ("quantile_normal", "z_score", "robust")
    return [fit_scaling(VALUES[:, i], method, column="x") for i, method in enumerate(methods)]


def expected_of(values: np.ndarray, scalings: list[Scaling]) -> np.ndarray:
    columns = [scaling.apply(values[:, i]) for i, scaling in enumerate(scalings)]
    return np.column_stack(columns).astype(np.float32)


def test_columns_are_scaled_to_the_last_bit(scalings: list[Scaling]) -> None:
    # Between the quantiles, on them, and beyond both ends.
    values = np.concatenate([VALUES, VALUES + 0.05, VALUES - 5000, VALUES + 5000])
    rows = torch.from_numpy(np.column_stack([np.zeros(len(values)), values]))
    found = ScaledColumns(scalings, [1, 2, 3])(rows)
    assert np.array_equal(found.numpy(), expected_of(values, scalings))


def test_missing_numbers_are_filled_and_told() -> None:
    values = np.where(np.random.default_rng(1).random(VALUES.shape) < 0.2, np.nan, VALUES)
    methods = ("quantile_normal", "z_score", "robust")
    scalings = [
        fit_scaling(values[:, i], method, column="x", fill_missing_values=True)
        for i, method in enumerate(methods)
    ]
    found = ScaledColumns(scalings, [0, 1, 2])(torch.from_numpy(values))
    assert np.array_equal(found.numpy(), expected_of(values, scalings))
    assert np.isfinite(found.numpy()).all()
    told = Gaps([1])(torch.tensor([[1.0, np.nan, 3.0], [1.0, 2.0, np.nan]]))
    assert told[:, 3:].tolist() == [[0, 1], [1, 0]]


def test_a_group_becomes_the_place_of_the_column_that_is_set() -> None:
    group = OneHotGroup(name="soil", meaning="Soil", columns={"a": "A", "c": "C"}, complete=False)
    rows = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    assert GroupCode(group, ["a", "b", "c"])(rows).tolist() == [0, 2, 1]


def test_onnx_scales_as_the_pipeline_does(scalings: list[Scaling], tmp_path: Path) -> None:
    class AsIs(nn.Module):
        def forward(self, numeric: torch.Tensor, categorical: torch.Tensor) -> torch.Tensor:
            return numeric + 0 * categorical.sum(dim=1, keepdim=True)

    names = ["x0", "x1", "x2"]
    kept = TableSpec(
        target="kind",
        classes={1: "a", 2: "b", 3: "c"},
        numeric=tuple(NumericColumn(name=name, unit="m", meaning=name) for name in names),
        groups=(),
    )
    graph = RawClassifier(
        AsIs(), table=kept, kept=kept, scalings=dict(zip(names, scalings, strict=True)), temperature=1.0
    )
    save_onnx(trace(graph, n_inputs=3), tmp_path / "model.onnx")
    (found,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"rows": VALUES})
    expected = torch.from_numpy(expected_of(VALUES, scalings)).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.usefixtures("trusted_targets")
@pytest.mark.parametrize("max_one_hot", [100, 2], ids=["one-hot", "embedded"])
@pytest.mark.parametrize("model", MODELS)
def test_each_model_can_be_frozen(
    model: str, max_one_hot: int, tensors: Path, root: Path, tmp_path: Path
) -> None:
    schema = Schema.load(tensors / "schema.json")
    with initialize_config_dir(str(root / "configs"), job_name="train"):
        cfg = compose("train", [f"model={model}", f"model.net.max_one_hot={max_one_hot}", "run_folder=x"])
    torch.manual_seed(0)
    classifier = instantiate(cfg.model)(schema=schema).eval()
    names = ["a", "b", *schema.categorical[0].categories]
    kept = TableSpec(
        target="kind",
        classes=dict(zip(schema.class_values, schema.class_names, strict=True)),
        numeric=tuple(NumericColumn(name=name, unit="m", meaning=name) for name in schema.numeric),
        groups=(OneHotGroup(name="colour", meaning="Colour", columns=dict.fromkeys(names[2:], "")),),
    )
    values = np.random.default_rng(0).normal(size=(64, 2))
    scalings = {name: fit_scaling(values[:, i], "none", column=name) for i, name in enumerate("ab")}
    graph = RawClassifier(classifier, table=kept, kept=kept, scalings=scalings, temperature=1.5)
    codes = np.arange(64) % 3
    rows = np.column_stack([values, np.eye(3)[codes]])
    program = trace(graph, n_inputs=5)
    save_onnx(program, tmp_path / "model.onnx")
    save_pt2(program, tmp_path / "model.pt2")
    numeric, categorical = torch.from_numpy(values).float(), torch.from_numpy(codes)[:, None]
    with torch.inference_mode():
        expected = (classifier(numeric, categorical) / 1.5).softmax(dim=1).numpy()
        module = torch.export.load(tmp_path / "model.pt2").module()
        np.testing.assert_allclose(module(torch.from_numpy(rows)).numpy(), expected, atol=1e-6)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for n_rows in (1, 7, 64):
        (found,) = session.run(None, {"rows": rows[:n_rows]})
        np.testing.assert_allclose(found, expected[:n_rows], atol=1e-5)


def test_one_hot_columns_and_embeddings_are_frozen_together(tmp_path: Path) -> None:
    sizes = {"many": 150, "few": 3, "more": 120}
    groups = tuple(
        OneHotGroup(name=name, meaning=name, columns={f"{name}{code}": "" for code in range(size)})
        for name, size in sizes.items()
    )
    table = TableSpec(target="kind", classes={1: "a", 2: "b"}, numeric=(), groups=groups)
    torch.manual_seed(0)
    net = MLP(n_numeric=0, cardinalities=[*sizes.values()], n_classes=2, hidden=[8]).eval()
    graph = RawClassifier(net, table=table, kept=table, scalings={}, temperature=1.0)
    codes = np.random.default_rng(0).integers([*sizes.values()], size=(64, 3))
    rows = np.concatenate([np.eye(size)[codes[:, i]] for i, size in enumerate(sizes.values())], axis=1)
    program = trace(graph, n_inputs=rows.shape[1])
    save_onnx(program, tmp_path / "model.onnx")
    save_pt2(program, tmp_path / "model.pt2")
    with torch.inference_mode():
        expected = net(torch.zeros(64, 0), torch.from_numpy(codes)).softmax(dim=1).numpy()
        found = torch.export.load(tmp_path / "model.pt2").module()(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    (found,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"rows": rows})
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "n_groups"), [("z_score", 0), ("quantile_normal", 0), ("quantile_normal", 1), (None, 1)]
)
def test_a_table_may_lack_a_kind_of_feature(method: Method | None, n_groups: int, tmp_path: Path) -> None:
    names = ["x0", "x1", "x2"] if method else []
    scalings = {
        name: fit_scaling(VALUES[:, i], method, column=name) for i, name in enumerate(names) if method
    }
    group = OneHotGroup(name="colour", meaning="Colour", columns={"red": "Red", "blue": "Blue"})
    table = TableSpec(
        target="kind",
        classes={1: "a", 2: "b"},
        numeric=tuple(NumericColumn(name=name, unit="m", meaning=name) for name in names),
        groups=(group,) * n_groups,
    )
    torch.manual_seed(0)
    net = MLP(n_numeric=len(names), cardinalities=[2] * n_groups, n_classes=2, hidden=[8]).eval()
    graph = RawClassifier(net, table=table, kept=table, scalings=scalings, temperature=1.0)
    codes = np.arange(len(VALUES)) % 2
    rows = np.concatenate([VALUES[:, : len(names)], np.eye(2)[codes][:, : 2 * n_groups]], axis=1)
    program = trace(graph, n_inputs=rows.shape[1])
    save_onnx(program, tmp_path / "model.onnx")
    save_pt2(program, tmp_path / "model.pt2")
    numeric = torch.from_numpy(expected_of(VALUES, [*scalings.values()])) if names else torch.zeros(500, 0)
    with torch.inference_mode():
        expected = net(numeric, torch.from_numpy(codes)[:, None][:, :n_groups]).softmax(dim=1).numpy()
        found = torch.export.load(tmp_path / "model.pt2").module()(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    (found,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"rows": rows})
    np.testing.assert_allclose(found, expected, atol=1e-6)

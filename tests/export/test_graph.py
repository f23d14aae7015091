from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import nn

from canopy.export.graph import RawClassifier, save_onnx, save_pt2, trace
from canopy.export.preprocessing import Preprocessing
from canopy.export.scorer import open_session, run_batches
from canopy.nets.mlp import MLP
from canopy.prepare.fitting import Fit
from canopy.prepare.preprocessor import Inputs, Preprocessor, Vocabulary
from canopy.prepare.scaling import Affine, Method
from canopy.schema import TableSchema
from canopy.schema.tensors import Schema

VALUES = np.random.default_rng(0).normal(3000, 900, (500, 3)).round(1)
METHODS: tuple[Method, ...] = ("quantile_normal", "z_score", "robust")
MODELS = sorted(path.stem for path in (Path(__file__).parents[2] / "configs/model").glob("*.yaml"))


def rows_of(values: np.ndarray) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {f"x{i}": pa.array(column, from_pandas=True) for i, column in enumerate(values.T)}
    )


def fit(values: np.ndarray, methods: Sequence[Method] = METHODS, *, missing: str = "reject") -> Preprocessor:
    names = [f"x{i}" for i in range(values.shape[1])]
    columns = {name: {"kind": "numeric", "missing": missing} for name in names}
    schema = TableSchema.parse({"target": {"column": "y"}, "columns": columns})
    learner = Fit(schema, methods=dict(zip(names, methods, strict=True)), seed=0)
    learner.update(rows_of(values))
    return learner.preprocessor(("u", "v"))


def with_categories(numeric: Preprocessor | None = None, **sizes: int) -> Preprocessor:
    """Add categorical columns with as many categories."""
    return Preprocessor(
        numeric=numeric.numeric if numeric else {},
        datetime={},
        categorical={
            name: Vocabulary(values=tuple(f"{name}{code}" for code in range(size)))
            for name, size in sizes.items()
        },
        indicators=(),
        classes=("u", "v"),
    )


def check_frozen(graph: RawClassifier, preprocessor: Preprocessor, rows: Inputs, folder: Path) -> None:
    """Both files give what the net gives of the transformed rows, for any number of them."""
    program = trace(graph, preprocessor)
    save_onnx(program, folder / "model.onnx")
    save_pt2(program, folder / "model.pt2")
    scaled = [
        column
        for scaling, values in zip(preprocessor.scalings.values(), rows.numeric.T, strict=True)
        for column in scaling.apply(values)
    ]
    numeric = np.stack(scaled, axis=1) if scaled else rows.numeric
    with torch.inference_mode():
        logits = graph.model(torch.from_numpy(numeric).float(), torch.from_numpy(rows.categorical))
        expected = (logits / graph.temperature).softmax(dim=1).numpy()
        module = torch.export.load(folder / "model.pt2").module()
        np.testing.assert_allclose(module(*map(torch.from_numpy, rows)).numpy(), expected, atol=1e-6)
    for n_rows in (1, 7, 64):
        found = predict(folder / "model.onnx", rows.take(slice(n_rows)))
        np.testing.assert_allclose(found, expected[:n_rows], atol=1e-5)


def predict(path: Path, rows: Inputs) -> np.ndarray:
    return run_batches(open_session(path, n_threads=1), rows)


def test_columns_are_scaled_to_the_last_bit() -> None:
    preprocessor = fit(VALUES)
    # Between the quantiles, on them, and beyond both ends.
    values = np.concatenate([VALUES, VALUES + 0.05, VALUES - 5000, VALUES + 5000])
    found, _ = Preprocessing(preprocessor)(torch.from_numpy(values), torch.zeros(len(values), 0).long())
    assert np.array_equal(found.numpy(), preprocessor.transform(rows_of(values)).numeric)


def test_missing_numbers_are_filled_and_told() -> None:
    values = np.where(np.random.default_rng(1).random(VALUES.shape) < 0.2, np.nan, VALUES)
    preprocessor = fit(values, missing="median")
    found, reported = Preprocessing(preprocessor)(
        torch.from_numpy(values), torch.zeros(len(values), 0).long()
    )
    expected = preprocessor.transform(rows_of(values))
    assert np.array_equal(found.numpy(), expected.numeric)
    assert np.isfinite(found.numpy()).all()
    assert np.array_equal(reported.numpy(), expected.categorical)
    assert np.array_equal(reported.numpy(), np.isnan(values))


def test_onnx_scales_as_the_pipeline_does(tmp_path: Path) -> None:
    class AsIs(nn.Module):
        def forward(self, numeric: torch.Tensor, categorical: torch.Tensor) -> torch.Tensor:
            return numeric

    preprocessor = fit(VALUES)
    graph = RawClassifier(AsIs(), preprocessor, temperature=1.0)
    save_onnx(trace(graph, preprocessor), tmp_path / "model.onnx")
    found = predict(tmp_path / "model.onnx", preprocessor.inputs(rows_of(VALUES)))
    expected = torch.from_numpy(preprocessor.transform(rows_of(VALUES)).numeric).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("trusted_targets")
@pytest.mark.parametrize("max_one_hot", [100, 2], ids=["one-hot", "embedded"])
@pytest.mark.parametrize("model", MODELS)
def test_each_model_can_be_frozen(
    model: str, max_one_hot: int, tensors: Path, root: Path, tmp_path: Path
) -> None:
    schema = Schema.load(tensors / "schema.json")
    with initialize_config_dir(str(root / "configs"), job_name="train"):
        own = (f"model.net.max_one_hot={max_one_hot}", f"data.folder={tensors}", "run_folder=x")
        cfg = compose("train", [f"model={model}", *own])
    torch.manual_seed(0)
    classifier = instantiate(cfg.model)(schema=schema).eval()
    numeric = dict.fromkeys(schema.numeric, Affine(method="none", center=0, scale=1))
    (feature,) = schema.categorical
    preprocessor = Preprocessor(
        numeric=numeric,
        datetime={},
        categorical={feature.name: Vocabulary(values=feature.categories)},
        indicators=(),
        classes=("1", "2", "3"),
    )
    # One code more than there are categories: an unseen one.
    rows = Inputs(np.random.default_rng(0).normal(size=(64, 2)), np.arange(64)[:, None] % 4)
    graph = RawClassifier(classifier, preprocessor, temperature=1.5)
    check_frozen(graph, preprocessor, rows, tmp_path)


def test_one_hot_columns_and_embeddings_are_frozen_together(tmp_path: Path) -> None:
    sizes = {"many": 150, "few": 3, "more": 120}
    preprocessor = with_categories(**sizes)
    torch.manual_seed(0)
    net = MLP(n_numeric=0, cardinalities=[*sizes.values()], n_classes=2, hidden=[8]).eval()
    codes = np.random.default_rng(0).integers([*sizes.values()], size=(64, 3))
    graph = RawClassifier(net, preprocessor, temperature=1.0)
    check_frozen(graph, preprocessor, Inputs(np.empty((64, 0)), codes), tmp_path)


@pytest.mark.parametrize(
    ("method", "n_categorical"), [("z_score", 0), ("quantile_normal", 0), ("quantile_normal", 1), (None, 1)]
)
def test_a_table_may_lack_a_kind_of_feature(
    method: Method | None, n_categorical: int, tmp_path: Path
) -> None:
    numeric = fit(VALUES, [method] * 3) if method else None
    preprocessor = with_categories(numeric, **{"colour": 2} if n_categorical else {})
    torch.manual_seed(0)
    n_numeric = len(preprocessor.numeric)
    net = MLP(n_numeric=n_numeric, cardinalities=[2] * n_categorical, n_classes=2, hidden=[8]).eval()
    codes = np.arange(len(VALUES))[:, None][:, :n_categorical] % 2
    graph = RawClassifier(net, preprocessor, temperature=1.0)
    check_frozen(graph, preprocessor, Inputs(VALUES[:, :n_numeric], codes), tmp_path)

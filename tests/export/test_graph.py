"""The graph of a bundle: PyTorch, torch.export and ONNX give what the stages and the net give."""

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from hypothesis import HealthCheck, given, settings
from torch import Tensor, nn

from canopy.export.graph import Preprocessing, RawClassifier, save_onnx, save_pt2, trace
from canopy.export.scorer import open_session, run_batches
from canopy.nets.mlp import MLP
from canopy.prepare.fitting import Fit
from canopy.prepare.preprocessor import Inputs, Preprocessor, Vocabulary
from canopy.prepare.scaling import METHODS, Affine
from canopy.schema import TableSchema
from canopy.schema.tensors import Schema

VALUES = np.random.default_rng(0).normal(3000, 900, (500, 3)).round(1)
MODELS = sorted(path.stem for path in (Path(__file__).parents[2] / "configs/model").glob("*.yaml"))
NUMBERS = st.floats(-1e6, 1e6, width=32)
TIMES = st.integers(-(2**40), 2**41).map(lambda seconds: seconds * 1_000_000 // 1000)


def rows_of(values: np.ndarray) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {f"x{i}": pa.array(column, from_pandas=True) for i, column in enumerate(values.T)}
    )


def fit(values: np.ndarray, *, missing: str = "reject") -> Preprocessor:
    methods = {"x0": "quantile_normal", "x1": "z_score", "x2": "robust"}
    columns = {name: {"kind": "numeric", "missing": missing} for name in methods}
    learner = Fit(TableSchema.parse({"target": {"column": "y"}, "columns": columns}), methods=methods, seed=0)
    learner.update(rows_of(values))
    return learner.preprocessor(("u", "v"))


def preprocess(preprocessor: Preprocessor, values: np.ndarray) -> list[np.ndarray]:
    found = Preprocessing(preprocessor)(torch.from_numpy(values), torch.zeros(len(values), 0).long())
    return [tensor.numpy() for tensor in found]


def test_columns_are_scaled_to_the_last_bit() -> None:
    preprocessor = fit(VALUES)
    # Between the quantiles, on them, and beyond both ends.
    values = np.concatenate([VALUES, VALUES + 0.05, VALUES - 5000, VALUES + 5000])
    found, _ = preprocess(preprocessor, values)
    assert np.array_equal(found, preprocessor.transform(rows_of(values)).numeric)


def test_missing_numbers_are_filled_and_reported() -> None:
    values = np.where(np.random.default_rng(1).random(VALUES.shape) < 0.2, np.nan, VALUES)
    preprocessor = fit(values, missing="median")
    found, reported = preprocess(preprocessor, values)
    expected = preprocessor.transform(rows_of(values))
    assert np.array_equal(found, expected.numeric)
    assert np.isfinite(found).all()
    assert np.array_equal(reported, expected.categorical)
    assert np.array_equal(reported, np.isnan(values))


@st.composite
def tables(draw: st.DrawFn) -> tuple[Preprocessor, pa.RecordBatch]:
    """A table of any schema, and the preprocessor fitted on it."""
    columns, methods, data = {}, {}, {}
    n_rows = draw(st.integers(3, 12))
    for index in range(draw(st.integers(0, 4))):
        name = f"n{index}"
        missing = draw(st.sampled_from(["reject", "median", "mean", "constant"]))
        columns[name] = {"kind": "numeric", "missing": missing}
        methods[name] = draw(st.sampled_from(sorted({*METHODS} - {"robust"})))
        varied = st.lists(NUMBERS, min_size=n_rows, max_size=n_rows, unique=True)
        values = draw(varied | NUMBERS.map(lambda value: [value] * n_rows))
        data[name] = pa.array([None, *values[1:]] if missing != "reject" else values, pa.float64())
    for index in range(draw(st.integers(0, 2))):
        name = f"d{index}"
        columns[name] = {"kind": "datetime", "missing": draw(st.sampled_from(["reject", "median"]))}
        times = draw(st.lists(TIMES, min_size=n_rows, max_size=n_rows, unique=True))
        values = [None, *times[1:]] if columns[name]["missing"] == "median" else times
        data[name] = pa.array(values, pa.timestamp("us"))
    for index in range(draw(st.integers(0 if columns else 1, 2))):
        name = f"c{index}"
        columns[name] = {"kind": "categorical", "missing": "category"}
        values = draw(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=n_rows, max_size=n_rows))
        data[name] = pa.array(["a", *values[1:]], pa.string())
    rows = pa.RecordBatch.from_pydict(data)
    learner = Fit(TableSchema.parse({"target": {"column": "y"}, "columns": columns}), methods=methods, seed=0)
    learner.update(rows)
    return learner.preprocessor(("u", "v")), rows


class Both(nn.Module):
    """Preprocessing alone, as one output that ONNX can name."""

    def __init__(self, preprocessor: Preprocessor) -> None:
        super().__init__()
        self.layer = Preprocessing(preprocessor)

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        scaled, codes = self.layer(numeric, categorical)
        return torch.cat([scaled, codes.float()], dim=1)


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables())
def test_the_graph_gives_what_the_stages_give(
    tmp_path: Path, table: tuple[Preprocessor, pa.RecordBatch]
) -> None:
    preprocessor, rows = table
    encoded, inputs = preprocessor.transform(rows), preprocessor.inputs(rows)
    expected = np.concatenate([encoded.numeric, encoded.categorical.astype(np.float32)], axis=1)
    tensors = [torch.from_numpy(array) for array in inputs]
    graph = Both(preprocessor).eval()
    program = trace(graph, preprocessor)
    save_onnx(program, tmp_path / "graph.onnx")
    onnx = run_batches(open_session(tmp_path / "graph.onnx", n_threads=1), inputs)
    with torch.no_grad():
        found = {"module": graph(*tensors), "program": program.module()(*tensors), "onnx": onnx}
    for name, values in found.items():
        np.testing.assert_allclose(values, expected, rtol=2e-6, atol=1e-6, err_msg=name)


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
    session = open_session(folder / "model.onnx", n_threads=1)
    for n_rows in (1, 7, 64):
        found = run_batches(session, rows.take(slice(n_rows)))
        np.testing.assert_allclose(found, expected[:n_rows], atol=1e-5)


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
    (feature,) = schema.categorical
    preprocessor = Preprocessor(
        numeric=dict.fromkeys(schema.numeric, Affine(method="none", center=0, scale=1)),
        datetime={},
        categorical={feature.name: Vocabulary(values=feature.categories)},
        indicators=(),
        classes=("1", "2", "3"),
    )
    # One code more than there are categories: an unseen one.
    rows = Inputs(np.random.default_rng(0).normal(size=(64, 2)), np.arange(64)[:, None] % 4)
    graph = RawClassifier(classifier, preprocessor, temperature=1.5)
    check_frozen(graph, preprocessor, rows, tmp_path)


@pytest.mark.parametrize(
    ("n_numeric", "sizes"),
    [
        pytest.param(3, [], id="numbers alone"),
        pytest.param(3, [2], id="both"),
        # Those of many categories are embedded, the others enter as one-hot columns.
        pytest.param(0, [150, 3, 120], id="categories alone"),
    ],
)
def test_a_table_may_lack_a_kind_of_feature(n_numeric: int, sizes: list[int], tmp_path: Path) -> None:
    categorical = {f"c{i}": Vocabulary(values=tuple(map(str, range(size)))) for i, size in enumerate(sizes)}
    numeric = fit(VALUES).numeric if n_numeric else {}
    preprocessor = fit(VALUES).model_copy(update={"numeric": numeric, "categorical": categorical})
    torch.manual_seed(0)
    net = MLP(n_numeric=n_numeric, cardinalities=sizes, n_classes=2, hidden=[8]).eval()
    codes = np.random.default_rng(0).integers(sizes or 1, size=(len(VALUES), len(sizes)))
    graph = RawClassifier(net, preprocessor, temperature=1.0)
    check_frozen(graph, preprocessor, Inputs(VALUES[:, :n_numeric], codes), tmp_path)

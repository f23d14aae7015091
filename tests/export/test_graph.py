"""The graph of a bundle: PyTorch, torch.export and ONNX give what the stages and the net give."""

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import HealthCheck, assume, given, settings
from numpy.typing import ArrayLike
from torch import Tensor, nn

from canopy.export.graph import Preprocessing, RawModel, save_onnx, save_pt2, trace
from canopy.export.scorer import open_session, run_batches
from canopy.export.statistics import measure_numeric
from canopy.nets.mlp import MLP
from canopy.prepare.fitting import Fit
from canopy.prepare.preprocessor import Preprocessor
from canopy.prepare.scaling import METHODS
from canopy.schema import TableSchema
from canopy.schema.tensors import Schema
from canopy.tasks.classification import TemperatureSoftmax
from packages import ROOT, composed

VALUES = np.random.default_rng(0).normal(3000, 900, (500, 3)).round(1)
MODELS = sorted(path.stem for path in (ROOT / "configs/model").glob("*.yaml"))
NUMBERS = st.floats(-1e6, 1e6, width=32)
TIMES = st.integers(-(2**40), 2**41).map(lambda seconds: seconds * 1_000_000 // 1000)
TIME = pa.timestamp("us")


def fit(columns: dict[str, dict], methods: dict[str, str], rows: pa.RecordBatch) -> Preprocessor:
    learner = Fit(TableSchema.parse({"target": {"column": "y"}, "columns": columns}), methods=methods, seed=0)
    learner.update(rows)
    return learner.preprocessor(("u", "v"))


def check_frozen(
    graph: nn.Module,
    preprocessor: Preprocessor,
    rows: pa.RecordBatch,
    expected: ArrayLike,
    folder: Path,
    rtol: float = 2e-6,
) -> None:
    """Module, torch's file and ONNX give what is expected, for any number of rows."""
    program = trace(graph.eval(), preprocessor)
    save_onnx(program, folder / "model.onnx")
    save_pt2(program, folder / "model.pt2")
    module = torch.export.load(folder / "model.pt2").module()
    session = open_session(folder / "model.onnx", n_threads=1)
    for n_rows in {1, 7, rows.num_rows}:
        inputs = preprocessor.inputs(rows.slice(0, n_rows))
        tensors = [torch.from_numpy(array) for array in inputs]
        with torch.inference_mode():
            found = {"module": graph(*tensors), "pt2": module(*tensors), "onnx": run_batches(session, inputs)}
        for name, values in found.items():
            np.testing.assert_allclose(values, expected[:n_rows], rtol=rtol, atol=1e-6, err_msg=name)


def check_classifier(net: nn.Module, preprocessor: Preprocessor, rows: pa.RecordBatch, folder: Path) -> None:
    """The graph gives what the net gives of the rows that the stages transform."""
    with torch.inference_mode():
        expected = (net.eval()(*map(torch.from_numpy, preprocessor.transform(rows))) / 1.5).softmax(dim=1)
    graph = RawModel(net, preprocessor, answer=TemperatureSoftmax(1.5))
    check_frozen(graph, preprocessor, rows, expected, folder, rtol=1e-7)


@pytest.mark.parametrize("missing", ["reject", "median"])
def test_numbers_are_filled_and_scaled_to_the_last_bit(missing: str) -> None:
    is_missing = np.random.default_rng(1).random(VALUES.shape) < (0.2 if missing == "median" else 0)
    trained = np.where(is_missing, np.nan, VALUES)
    methods = {"x0": "quantile_normal", "x1": "z_score", "x2": "robust"}

    def rows_of(values: np.ndarray) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([pa.array(x, from_pandas=True) for x in values.T], [*methods])

    columns = {name: {"kind": "numeric", "missing": missing} for name in methods}
    preprocessor = fit(columns, methods, rows_of(trained))
    # Between the quantiles, on them, and beyond both ends.
    values = np.concatenate([trained, trained + 0.05, trained - 5000, trained + 5000])
    none = torch.zeros(len(values), 0).long()
    found, reported = Preprocessing(preprocessor)(torch.from_numpy(values), none)
    expected = preprocessor.transform(rows_of(values))
    assert found.isfinite().all()
    assert np.array_equal(found, expected.numeric)
    assert np.array_equal(reported, expected.categorical)
    assert missing == "reject" or np.array_equal(reported, np.isnan(values))


@st.composite
def tables(draw: st.DrawFn) -> tuple[Preprocessor, pa.RecordBatch]:
    """A table of any schema, and the preprocessor fitted on it."""
    columns, methods, data = {}, {}, {}
    n_rows = draw(st.integers(3, 12))

    def varied(values: st.SearchStrategy) -> st.SearchStrategy:
        return st.lists(values, min_size=n_rows, max_size=n_rows, unique=True)

    kinds = st.sampled_from(["numeric", "datetime", "categorical"])
    for index, kind in enumerate(draw(st.lists(kinds, min_size=1, max_size=7))):
        name, n_missing, policies = f"{kind}{index}", 1, ["reject", "median"]
        if kind == "numeric":
            policies += ["mean", "constant"]
            methods[name] = draw(st.sampled_from(sorted({*METHODS} - {"robust"})))
            values = draw(varied(NUMBERS) | NUMBERS.map(lambda value: [value] * n_rows))
            n_missing = draw(st.sampled_from([1, n_rows]))
        elif kind == "datetime":
            values = draw(varied(TIMES))
        else:
            policies = ["category"]
            values = [*draw(st.lists(st.sampled_from("abc"), min_size=n_rows, max_size=n_rows))]
        columns[name] = {"kind": kind, "missing": draw(st.sampled_from(policies))}
        if columns[name]["missing"] != "reject":
            values = [None] * n_missing + values[n_missing:]
        data[name] = pa.array(values, {"numeric": pa.float64(), "datetime": TIME}.get(kind, pa.string()))
    rows = pa.RecordBatch.from_pydict(data)
    assume(any(column.null_count < n_rows for column in rows))
    return fit(columns, methods, rows), rows


class Both(Preprocessing):
    """Preprocessing alone, as one output that ONNX can name."""

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        scaled, codes = super().forward(numeric, categorical)
        return torch.cat([scaled, codes.float()], dim=1)


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables())
def test_any_schema_can_be_frozen(tmp_path: Path, table: tuple[Preprocessor, pa.RecordBatch]) -> None:
    preprocessor, rows = table
    expected = np.concatenate(preprocessor.transform(rows), axis=1)
    check_frozen(Both(preprocessor), preprocessor, rows, expected, tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("trusted_targets")
@pytest.mark.parametrize("max_one_hot", [100, 2], ids=["one-hot", "embedded"])
@pytest.mark.parametrize("model", MODELS)
def test_each_model_can_be_frozen(model: str, max_one_hot: int, tensors: Path, tmp_path: Path) -> None:
    own = (f"model.net.max_one_hot={max_one_hot}", f"data.folder={tensors}", "run_folder=x")
    cfg = composed("train", f"model={model}", *own)
    torch.manual_seed(0)
    classifier = instantiate(cfg.model)(schema=Schema.load(tensors / "schema.json"))
    numbers = np.random.default_rng(0).normal(size=(2, 64))
    colours = ["red", "green", "blue", "unseen"] * 16
    rows = pa.RecordBatch.from_arrays([*map(pa.array, numbers), pa.array(colours)], ["a", "b", "colour"])
    columns = {"a": {"kind": "numeric"}, "b": {"kind": "numeric"}, "colour": {"kind": "categorical"}}
    preprocessor = fit(columns, {"a": "z_score", "b": "none"}, rows.slice(0, 3))
    check_classifier(classifier, preprocessor, rows, tmp_path)


NONE, SAME = pa.nulls(300, pa.float64()), pa.array([0] * 300, TIME)
CONSTANT = pa.array([5.0, *[None] * 100, *[5.0] * 199])
NUMBER, FEW = pa.array(VALUES[:300, 0]), pa.array(["a", "b", "c"] * 100)
# So many categories are embedded, fewer enter as one-hot columns.
MANY = pa.array([str(i % 150) for i in range(300)])


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"a": NUMBER, "b": NUMBER}, id="numbers alone"),
        pytest.param({"a": NUMBER, "b": FEW}, id="both"),
        pytest.param({"a": MANY, "b": FEW, "c": MANY}, id="categories alone"),
        pytest.param({"a": CONSTANT}, id="no number that varies"),
        pytest.param({"a": CONSTANT, "b": NUMBER}, id="few numbers that vary"),
        # A number that all training rows lack, and a time of which no part varies, are no features.
        pytest.param({"a": NONE, "b": SAME, "c": NUMBER}, id="few features"),
    ],
)
def test_table_of_any_columns_can_be_frozen(columns: dict[str, pa.Array], tmp_path: Path) -> None:
    rows, kinds = pa.RecordBatch.from_pydict(columns), {NONE.type: "numeric", TIME: "datetime"}
    table = {name: {"kind": kinds.get(values.type, "categorical")} for name, values in columns.items()}
    for name, values in columns.items():
        if values in (NONE, SAME, CONSTANT):
            table[name]["missing"] = "median"
    preprocessor = fit(table, dict.fromkeys(columns, "z_score"), rows)
    torch.manual_seed(0)
    sizes = [len(names) for names in preprocessor.categories.values()]
    n_numeric = len(preprocessor.feature_names)
    net = MLP(n_numeric=n_numeric, cardinalities=sizes, n_outputs=2, hidden=[8])
    check_classifier(net, preprocessor, rows, tmp_path)


def test_column_without_values_is_described_as_missing() -> None:
    found = measure_numeric(np.full(5, np.nan))
    assert found == {"min": 0, "max": 0, "mean": 0, "edges": [], "shares": [1], "missing": 1}

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from canopy.cores import usable_cores
from canopy.data.dataset import load_rows
from canopy.evaluation.inference import Predictor
from canopy.export.compress.measure import predict
from canopy.export.compress.quantize import quantize_dynamic, quantize_static
from canopy.export.compress.teach import TaughtData, teach, teacher_probabilities
from canopy.export.manifest import MANIFEST_FILE, ONNX_FILE, Manifest
from canopy.export.scorer import Scorer
from canopy.files import PARAMS, read_json, write_json
from canopy.prepare.preprocessor import Inputs
from canopy.runs.run import RECORD, Run
from canopy.tables.rows import read_table

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("trusted_targets")]

Compress = Callable[..., dict[str, Any]]


def inputs_of(table: Path, manifest: Manifest) -> Inputs:
    (rows,) = read_table(table, manifest.table)
    return manifest.preprocessor.inputs(rows)


def test_compress_measures_all_variants_and_bundles_the_chosen(
    compress_run: Compress, raw_table: Path, tmp_path: Path
) -> None:
    report = compress_run()
    assert read_json(tmp_path / "compression.json") == report
    variants = {item["name"]: item for item in report["variants"]}
    kinds = ("", ", int8", ", int8 dynamic")
    assert [*variants] == [f"{model}{kind}" for model in ("whole", "pruned", "distilled") for kind in kinds]
    differences = {name: item["row_difference"] for name, item in variants.items()}
    assert all((found > 1e-4) == name.endswith("dynamic") for name, found in differences.items()), differences
    by_itself = [item for name, item in variants.items() if not name.endswith("dynamic")]
    smallest = min(by_itself, key=lambda item: item["n_bytes"])
    assert report["chosen"] == smallest["name"]
    assert [speed["n_threads"] for speed in smallest["speeds"]] == sorted({1, usable_cores()})
    assert (tmp_path / "compression.png").read_bytes().startswith(b"\x89PNG")

    bundle = tmp_path / "compressed"
    assert {path.name for path in bundle.iterdir()} == {MANIFEST_FILE, ONNX_FILE}
    scorer = Scorer(bundle)
    manifest = scorer.manifest
    assert manifest.compression is not None
    assert manifest.compression["variant"] == report["chosen"]
    assert manifest.metrics["test"]["accuracy"] == smallest["accuracy"]
    assert manifest.metrics["val"]["accuracy"] == smallest["val_accuracy"]
    assert (bundle / ONNX_FILE).stat().st_size == smallest["n_bytes"]
    probabilities = scorer.predict(inputs_of(raw_table, manifest))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_compress_without_budget_serves_nothing_worse(compress_run: Compress, tmp_path: Path) -> None:
    report = compress_run(**{"compress.max_accuracy_drop": 0})
    variants = {item["name"]: item for item in report["variants"]}
    assert variants[report["chosen"]]["val_accuracy"] >= variants["whole"]["val_accuracy"]
    report = compress_run(**{"compress.max_nll_increase": 0})
    variants = {item["name"]: item for item in report["variants"]}
    assert variants[report["chosen"]]["val_nll"] <= variants["whole"]["val_nll"]


def test_compress_refuses_other_bundles(compress_run: Compress, evaluated_run: Run, tmp_path: Path) -> None:
    compress_run(**{"compress.max_accuracy_drop": 1})
    with pytest.raises(ValueError, match="must be a whole model; got one that is compressed: "):
        compress_run(bundle=tmp_path / "compressed", output=tmp_path / "again")
    record = read_json(evaluated_run.path / RECORD)
    write_json(evaluated_run.path / RECORD, {**record, "name": "another"})
    with pytest.raises(ValueError, match="must be the bundle of the run another; got that of run: make it"):
        compress_run(output=tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_compress_takes_the_budget_of_the_runs_project(
    compress_run: Compress, evaluated_run: Run, root: Path
) -> None:
    params = (root / PARAMS).read_text().replace("max_accuracy_drop: 0.002", "max_accuracy_drop: -0.5")
    (evaluated_run.path.parent / PARAMS).write_text(params)
    with pytest.raises(ValueError, match="max_accuracy_drop must be at least 0; got -0.5"):
        compress_run(**{"compress.max_accuracy_drop": "null"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prune.keep": 0}, "prune.keep must be above 0"),
        ({"prune.epochs": 1.5}, "prune.epochs must be an integer >= 1; got 1.5"),
        ({"teacher_weight": 2}, "teacher_weight must be a number from 0 to 1; got 2"),
        ({"teacher_weight": "x"}, "teacher_weight must be a number from 0 to 1; got 'x'"),
        ({"compress.max_accuracy_drop": -1}, "max_accuracy_drop must be at least 0"),
        ({"compress.max_accuracy_drop": "nan"}, "max_accuracy_drop must be at least 0; got nan"),
        ({"compress.max_nll_increase": -1}, "max_nll_increase must be at least 0; got -1"),
        ({"n_calibration_rows": 0}, "n_calibration_rows must be an integer >= 1; got 0"),
        ({"distil.epochs": "abc"}, "distil.epochs must be an integer >= 1; got 'abc'"),
    ],
)
def test_invalid_options_leave_the_old_bundle(
    compress_run: Compress, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    (tmp_path / "compressed").mkdir()
    (tmp_path / "compressed/model.json").touch()
    with pytest.raises(ValueError, match=message):
        compress_run(**options)
    assert (tmp_path / "compressed/model.json").is_file()
    assert not (tmp_path / "compression.json").exists()


def test_quantised_graph_holds_int8_matrices_and_predicts_nearly_the_same(
    export_run: Callable[..., Path], raw_table: Path, tmp_path: Path
) -> None:
    bundle = export_run()
    whole, rows = bundle / ONNX_FILE, inputs_of(raw_table, Manifest.load(bundle))
    expected = predict(whole, rows)
    quantize_static(whole, tmp_path / "static.onnx", rows)
    quantize_dynamic(whole, tmp_path / "dynamic.onnx")
    for kind in ("static", "dynamic"):
        graph = onnx.load(tmp_path / f"{kind}.onnx").graph
        matrices = [item for item in graph.initializer if "layers" in item.name and len(item.dims) == 2]
        assert len(matrices) == 2
        assert {item.data_type for item in matrices} == {onnx.TensorProto.INT8}
        found = predict(tmp_path / f"{kind}.onnx", rows)
        assert 0 < np.abs(found - expected).max() < 0.05


def test_bundle_holds_no_path_of_the_machine(export_run, root: Path) -> None:
    for path in export_run().iterdir():
        assert str(root).encode() not in path.read_bytes(), path.name


def test_taught_labels_mix_label_and_prediction(evaluated_run: Run) -> None:
    config = evaluated_run.config
    rows = load_rows(config.data.folder, "train", evaluated_run.schema).rows
    model = Predictor(evaluated_run, batch_size=64, accelerator="cpu").model
    taught = teacher_probabilities(model, rows)
    torch.testing.assert_close(taught.sum(dim=1), torch.ones(len(rows.labels)))
    options = {name: value for name, value in config.data.items() if name != "_target_"}
    data = TaughtData(taught=taught, weight=0.25, **options)
    data.setup("fit")
    data.setup("fit")
    targets = data._rows["train"].rows.labels
    expected = 0.25 * taught
    expected[torch.arange(len(expected)), rows.labels] += 0.75
    torch.testing.assert_close(targets, expected)
    assert not data._rows["val"].rows.labels.is_floating_point()


def test_pupil_learns_the_predictions_of_its_teacher(evaluated_run: Run, root: Path) -> None:
    model = Predictor(evaluated_run, batch_size=64, accelerator="cpu").model
    # Whatever the labels: the teacher knows but one class.
    with torch.no_grad():
        model.net.layers[-1].weight.zero_()
        model.net.layers[-1].bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
    small = ["distil.net.hidden=[8]"]
    with initialize_config_dir(str(root / "configs"), job_name="compress"):
        cfg = compose("compress", ["run=none", "run_folder=none", *small])
    rows = load_rows(evaluated_run.config.data.folder, "train", evaluated_run.schema).rows
    taught = teacher_probabilities(model, rows)
    net = instantiate(cfg.distil.net)
    pupil = teach(evaluated_run, net, taught=taught, weight=1.0, trainer=cfg.trainer, epochs=20)
    with torch.inference_mode():
        assert (pupil(rows.numeric, rows.categorical).argmax(dim=1) == 0).float().mean() > 0.95

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from canopy.cores import usable_cores
from canopy.data.dataset import load_rows
from canopy.evaluation.inference import Predictor
from canopy.export.compress.compress import compress, predict
from canopy.export.compress.variants import mix_targets, quantize, teach
from canopy.export.manifest import MANIFEST_FILE, ONNX_FILE, Manifest
from canopy.export.scorer import Scorer
from canopy.files import PARAMS, read_json, write_json
from canopy.prepare.preprocessor import Inputs
from canopy.runs.run import RECORD, Run
from canopy.tables.rows import read_table

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("trusted_targets")]

Compress = Callable[..., dict[str, Any]]


@pytest.fixture
def train_config(train_config: DictConfig) -> DictConfig:
    """A net that embeds its categories; tests/test_pipeline.py compresses one that does not."""
    train_config.model.net.max_one_hot = 2
    return train_config


@pytest.fixture
def compress_run(export_run: Callable[..., Path], evaluated_run: Run, root: Path, tmp_path: Path) -> Compress:
    """Compress the small run; gives the report."""
    bundle = export_run()

    def call(**options: object) -> dict[str, Any]:
        changes = {
            "run": evaluated_run.path,
            "bundle": bundle,
            "output": tmp_path / "compressed",
            "report": tmp_path / "compression.json",
            "plot": tmp_path / "compression.png",
            "run_folder": tmp_path,
            "distil.net.hidden": "[8]",
            "distil.net.max_one_hot": 2,
            "distil.epochs": 1,
            "prune.epochs": 1,
            "compress.max_accuracy_drop": 1,
            "compress.max_nll_increase": 100,
            **options,
        }
        with initialize_config_dir(str(root / "configs"), job_name="compress"):
            cfg = compose("compress", [f"{key}={value}" for key, value in changes.items()])
        return compress(evaluated_run, cfg)

    return call


def inputs_of(table: Path, manifest: Manifest) -> Inputs:
    (rows,) = read_table(table, manifest.table)
    return manifest.preprocessor.inputs(rows)


def test_compress_measures_all_variants_and_bundles_the_chosen(
    compress_run: Compress, raw_table: Path, tmp_path: Path, evaluated_run: Run
) -> None:
    report = compress_run()
    assert read_json(tmp_path / "compression.json") == report
    variants = {item["name"]: item for item in report["variants"]}
    models = ("whole", "pruned", "distilled")
    assert [*variants] == [f"{model}{kind}" for model in models for kind in ("", ", int8")]
    smallest = min(variants.values(), key=lambda item: item["n_bytes"])
    assert report["chosen"] == smallest["name"]
    assert smallest["times_smaller"] == round(variants["whole"]["n_bytes"] / smallest["n_bytes"], 2)
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
    rows = inputs_of(raw_table, manifest)
    probabilities = scorer.predict(rows)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    alone = [scorer.predict(rows.take(slice(row, row + 1))) for row in range(50)]
    np.testing.assert_allclose(np.concatenate(alone), probabilities[:50], atol=1e-5)

    with pytest.raises(ValueError, match="must be the bundle of the run run; got a compressed bundle of run"):
        compress_run(bundle=bundle, output=tmp_path / "again")
    record = read_json(evaluated_run.path / RECORD)
    write_json(evaluated_run.path / RECORD, {**record, "name": "another"})
    with pytest.raises(ValueError, match="must be the bundle of the run another; got a bundle of run: "):
        compress_run(output=tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prune.keep": 0}, "prune.keep must be above 0 and at most 1; got 0"),
        ({"teacher_weight": 2}, "teacher_weight must be a number from 0 to 1; got 2"),
        ({"compress.max_accuracy_drop": "nan"}, "max_accuracy_drop must be a number, at least 0; got nan"),
        ({"compress.max_nll_increase": -1}, "max_nll_increase must be a number, at least 0; got -1"),
        # That of the run's project.
        ({"compress.max_accuracy_drop": "null"}, "max_accuracy_drop must be a number, at least 0; got -0.5"),
    ],
)
def test_invalid_options_leave_the_old_bundle(
    compress_run: Compress,
    evaluated_run: Run,
    root: Path,
    tmp_path: Path,
    options: dict[str, object],
    message: str,
) -> None:
    params = (root / PARAMS).read_text().replace("max_accuracy_drop: 0.002", "max_accuracy_drop: -0.5")
    (evaluated_run.path.parent / PARAMS).write_text(params)
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
    quantize(whole, tmp_path / "int8.onnx", rows)
    graph = onnx.load(tmp_path / "int8.onnx").graph
    matrices = [item for item in graph.initializer if "layers" in item.name and len(item.dims) == 2]
    assert len(matrices) == 2
    assert {item.data_type for item in matrices} == {onnx.TensorProto.INT8}
    (table,) = [item for item in graph.initializer if "category_embeddings" in item.name]
    # Embeddings stay in single precision.
    assert (table.data_type, [*table.dims]) == (onnx.TensorProto.FLOAT, [4, 3])
    assert 0 < np.abs(predict(tmp_path / "int8.onnx", rows) - predict(whole, rows)).max() < 0.05


def test_pupil_learns_labels_mixed_with_predictions_of_its_teacher(evaluated_run: Run, root: Path) -> None:
    model = Predictor(evaluated_run, batch_size=64, accelerator="cpu").model
    rows = load_rows(evaluated_run.config.data.folder, "train", evaluated_run.schema).rows
    labels, mixed, taught = (mix_targets(model, rows, weight=weight) for weight in (0, 0.25, 1))
    assert torch.equal(labels.argmax(dim=1), rows.labels)
    torch.testing.assert_close(taught.sum(dim=1), torch.ones(len(rows.labels)))
    torch.testing.assert_close(mixed, 0.75 * labels + 0.25 * taught)
    # Whatever the labels: the teacher knows but one class.
    with torch.no_grad():
        model.net.layers[-1].weight.zero_()
        model.net.layers[-1].bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
    with initialize_config_dir(str(root / "configs"), job_name="compress"):
        cfg = compose("compress", ["run=none", "run_folder=none", "distil.net.hidden=[8]"])
    targets = mix_targets(model, rows, weight=1)
    pupil = teach(evaluated_run, instantiate(cfg.distil.net), targets=targets, trainer=cfg.trainer, epochs=20)
    with torch.inference_mode():
        assert (pupil(rows.numeric, rows.categorical).argmax(dim=1) == 0).float().mean() > 0.95

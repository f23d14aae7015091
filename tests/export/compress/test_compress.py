from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn

from canopy.cores import usable_cores
from canopy.data.dataset import load_rows
from canopy.evaluation.inference import Predictor
from canopy.export.compress.compress import choose, compress, predict
from canopy.export.compress.variants import mix_targets, prune_neurons, quantize, teach
from canopy.export.manifest import MANIFEST_FILE, ONNX_FILE, Manifest
from canopy.export.model_card import CARD_FILE
from canopy.export.scorer import Scorer
from canopy.files import PARAMS, read_json, write_json
from canopy.nets.mlp import MLP
from canopy.prepare.preprocessor import Inputs
from canopy.runs.run import RECORD, Run
from canopy.tables.rows import read_table
from packages import composed

pytestmark = pytest.mark.usefixtures("trusted_targets")

Compress = Callable[..., dict[str, Any]]


@pytest.fixture
def train_config(train_config: DictConfig) -> DictConfig:
    """A net that embeds its categories; tests/test_pipeline.py compresses one that does not."""
    train_config.model.net.max_one_hot = 2
    return train_config


def config(**given: object) -> DictConfig:
    return composed("compress", "distil.net.hidden=[8]", *(f"{key}={value}" for key, value in given.items()))


@pytest.fixture
def compress_run(export_run: Callable[..., Path], evaluated_run: Run, tmp_path: Path) -> Compress:
    """Compress the small run; gives the report."""
    bundle = export_run()

    def call(**options: object) -> dict[str, Any]:
        paths = {"output": "compressed", "report": "compression.json", "plot": "compression.png"}
        changes = {name: tmp_path / path for name, path in paths.items()}
        changes |= {"run": evaluated_run.path, "bundle": bundle, "run_folder": tmp_path}
        changes |= {"distil.net.max_one_hot": 2, "distil.epochs": 1, "prune.epochs": 1}
        changes |= {"compress.max_accuracy_drop": 1, "compress.max_nll_increase": 100, **options}
        return compress(evaluated_run, config(**changes))

    return call


def inputs_of(table: Path, manifest: Manifest) -> Inputs:
    (rows,) = read_table(table, manifest.table)
    return manifest.preprocessor.inputs(rows)


@pytest.mark.slow
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
    assert {path.name for path in bundle.iterdir()} == {MANIFEST_FILE, CARD_FILE, ONNX_FILE}
    scorer = Scorer(bundle)
    manifest = scorer.manifest
    assert manifest.compression is not None
    assert manifest.compression["variant"] == report["chosen"]
    found = [manifest.metrics[split]["accuracy"] for split in ("test", "val")]
    assert found == [smallest["accuracy"], smallest["val_accuracy"]]
    assert (bundle / ONNX_FILE).stat().st_size == smallest["n_bytes"]
    rows = inputs_of(raw_table, manifest)
    probabilities = scorer.predict(rows)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    alone = [scorer.predict(rows.take(slice(row, row + 1))) for row in range(50)]
    np.testing.assert_allclose(np.concatenate(alone), probabilities[:50], atol=1e-5)

    with pytest.raises(ValueError, match="must be the bundle of the run run, uncompressed; got another"):
        compress_run(bundle=bundle, output=tmp_path / "again")
    record = read_json(evaluated_run.path / RECORD)
    write_json(evaluated_run.path / RECORD, {**record, "name": "other"})
    with pytest.raises(ValueError, match="must be the bundle of the run other, .*; got another, of run: "):
        compress_run(output=tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("prune.keep", 0, "must be above 0 and at most 1; got 0"),
        ("teacher_weight", 2, "must be a number from 0 to 1; got 2"),
        ("compress.max_nll_increase", "nan", "must be a number, at least 0; got nan"),
        # That of the run's project.
        ("compress.max_accuracy_drop", "null", "must be a number, at least 0; got -0.5"),
    ],
)
def test_invalid_option_leaves_no_output(
    compress_run: Compress, root: Path, tmp_path: Path, option: str, value: object, message: str
) -> None:
    params = (root / PARAMS).read_text().replace("max_accuracy_drop: 0.002", "max_accuracy_drop: -0.5")
    (tmp_path / PARAMS).write_text(params)
    with pytest.raises(ValueError, match=f"{option} {message}"):
        compress_run(**{option: value})
    assert not list(tmp_path.glob("compress*"))


@pytest.mark.slow
def test_quantised_graph_holds_int8_matrices_and_predicts_nearly_the_same(
    export_run: Callable[..., Path], raw_table: Path, tmp_path: Path
) -> None:
    bundle = export_run()
    whole, rows = bundle / ONNX_FILE, inputs_of(raw_table, Manifest.load(bundle))
    quantize(whole, tmp_path / "int8.onnx", rows)
    constants = onnx.load(tmp_path / "int8.onnx").graph.initializer
    matrices = [item for item in constants if "layers" in item.name and len(item.dims) == 2]
    assert [item.data_type for item in matrices] == [onnx.TensorProto.INT8] * 2
    (table,) = [item for item in constants if "category_embeddings" in item.name]
    # Embeddings stay in single precision.
    assert (table.data_type, [*table.dims]) == (onnx.TensorProto.FLOAT, [4, 3])
    assert 0 < np.abs(predict(tmp_path / "int8.onnx", rows) - predict(whole, rows)).max() < 0.05


@pytest.mark.slow
def test_pupil_learns_labels_mixed_with_predictions_of_its_teacher(evaluated_run: Run) -> None:
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
    cfg = config(run="none", run_folder="none")
    targets = mix_targets(model, rows, weight=1)
    pupil = teach(evaluated_run, instantiate(cfg.distil.net), targets=targets, trainer=cfg.trainer, epochs=20)
    with torch.inference_mode():
        assert (pupil(rows.numeric, rows.categorical).argmax(dim=1) == 0).float().mean() > 0.95


def widths(net: MLP) -> list[tuple[int, int]]:
    return [tuple(layer.weight.shape) for layer in net.layers if isinstance(layer, nn.Linear)]


# Three categories enter as three columns, or as an embedding of three numbers.
@pytest.mark.parametrize("max_one_hot", [100, 2], ids=["one-hot", "embedded"])
def test_prune_takes_neurons_without_weights_first_and_leaves_the_net(max_one_hot: int) -> None:
    """Half of each layer's neurons have no weights that lead to them or away from them."""
    torch.manual_seed(0)
    net = MLP(n_numeric=3, cardinalities=[2, 3], n_outputs=4, hidden=[8, 6], max_one_hot=max_one_hot)
    first, second, last = (layer for layer in net.layers if isinstance(layer, nn.Linear))
    with torch.no_grad():
        second.weight[:, [0, 3]] = 0
        first.weight[[4, 7]] = 0
        first.bias[[4, 7]] = 0
        last.weight[:, [1, 2, 5]] = 0
    before = {name: value.clone() for name, value in net.state_dict().items()}
    pruned = prune_neurons(net, keep=0.5)
    assert widths(pruned) == [(4, 8), (3, 4), (4, 3)]
    assert torch.equal(pruned.layers[0].weight, first.weight[[1, 2, 5, 6]])
    rows = torch.randn(50, 3), torch.stack([torch.randint(size, (50,)) for size in (2, 3)], dim=1)
    found = pruned(*rows)
    # A bias that meets no weights is all that such a neuron could add: SiLU of 0 is 0.
    torch.testing.assert_close(found, net(*rows))
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in pruned.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert widths(prune_neurons(net, keep=0.01)) == [(1, 8), (1, 1), (4, 1)]


VARIANTS = [
    {"name": name, "n_bytes": n_bytes, "val_accuracy": accuracy, "val_nll": nll}
    for name, n_bytes, accuracy, nll in (
        *(("whole", 800, 0.95, 0.1), ("int8", 250, 0.949, 0.1), ("pruned", 220, 0.9485, 0.1)),
        *(("tiny", 100, 0.93, 0.1), ("better", 220, 0.9495, 0.1), ("unsure", 10, 0.95, 0.2)),
    )
]


@pytest.mark.parametrize(
    ("n", "max_accuracy_drop", "max_nll_increase", "expected"),
    [
        *((4, 0.0, 0.01, "whole"), (4, 0.0011, 0.01, "int8"), (4, 0.002, 0.01, "pruned")),
        # The more accurate of two as small, and log losses beyond and within the budget.
        *((5, 0.01, 0.01, "better"), (6, 0.002, 0.09, "better"), (6, 0.002, 0.11, "unsure")),
    ],
)
def test_choose_takes_the_smallest_within_the_budget(
    n: int, max_accuracy_drop: float, max_nll_increase: float, expected: str
) -> None:
    budget = {"max_accuracy_drop": max_accuracy_drop, "max_nll_increase": max_nll_increase}
    assert choose(VARIANTS[:n], **budget)["name"] == expected

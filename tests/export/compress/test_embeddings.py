"""A run whose net embeds its categories: exported, pruned, distilled and quantised."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from omegaconf import DictConfig

from canopy.evaluation.inference import Predictor
from canopy.export.manifest import ONNX_FILE
from canopy.runs.run import Run

pytestmark = pytest.mark.usefixtures("trusted_targets")


@pytest.fixture
def train_config(train_config: DictConfig) -> DictConfig:
    train_config.model.net.max_one_hot = 2
    return train_config


@pytest.mark.slow
def test_all_variants_are_made_and_say_of_a_row_the_same_whatever_comes_with_it(
    compress_run: Callable[..., dict[str, Any]], evaluated_run: Run, tmp_path: Path
) -> None:
    net = Predictor(evaluated_run, batch_size=64).model.net
    assert [tuple(embed.weight.shape) for embed in net.features.category_embeddings] == [(4, 3)]
    # Nothing is exported that differs from the run by more than 1e-5 on any test row, in either format.
    report = compress_run(**{"distil.net.max_one_hot": 2, "compress.max_accuracy_drop": 0})
    variants = {item["name"]: item for item in report["variants"]}
    assert len(variants) == 9
    differences = {name: item["row_difference"] for name, item in variants.items()}
    assert all(found <= 1e-4 for name, found in differences.items() if not name.endswith("dynamic")), (
        differences
    )
    graph = onnx.load(tmp_path / "compressed" / ONNX_FILE).graph
    (table,) = [item for item in graph.initializer if "category_embeddings" in item.name]
    # Quantised or not, the embeddings stay in single precision.
    assert (table.data_type, [*table.dims]) == (onnx.TensorProto.FLOAT, [4, 3])

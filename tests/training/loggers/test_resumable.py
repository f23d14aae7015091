import re
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.plugins.custom_scalar import layout_pb2

from canopy.runs.fit import fit
from canopy.training.fit import prepare

pytestmark = pytest.mark.usefixtures("trusted_targets")


def read(config: DictConfig) -> EventAccumulator:
    events = EventAccumulator(config.run_folder)
    events.Reload()
    return events


@pytest.mark.parametrize("compiled", [False, True])
def test_the_graph_shows_the_net_on_demand(train_config: DictConfig, compiled: bool) -> None:
    train_config.logger.tensorboard.log_graph = True
    run = prepare(train_config)
    if compiled:
        run.model.net.compile(backend="eager")
    random_state = torch.get_rng_state()
    run.trainer.logger.log_graph(run.model)
    run.trainer.logger.save()
    assert torch.equal(torch.get_rng_state(), random_state)
    assert run.model.training
    graph = GraphDef.FromString(read(train_config).Graph().SerializeToString())
    modules = {"/".join(node.name.split("/")[:depth]) for node in graph.node for depth in (2, 3)}
    entrance = "MLP/Features[features]"
    assert {
        f"{entrance}/PeriodicEmbeddings[embedding]",
        f"{entrance}/OneHot[one_hot]",
        "MLP/Sequential[layers]",
    } <= modules


def test_the_graph_shows_the_embeddings_of_categories(train_config: DictConfig) -> None:
    train_config.logger.tensorboard.log_graph = True
    train_config.model.net.max_one_hot = 2
    run = prepare(train_config)
    run.trainer.logger.log_graph(run.model)
    run.trainer.logger.save()
    graph = GraphDef.FromString(read(train_config).Graph().SerializeToString())
    assert any("category_embeddings" in node.name for node in graph.node)


def test_a_run_with_a_graph_has_the_weights_of_one_without(train_config: DictConfig, tmp_path: Path) -> None:
    train_config.model.net.dropout = 0.2
    without = prepare(train_config)
    without.trainer.fit(without.model, datamodule=without.data)
    assert not read(train_config).Tags()["graph"]
    train_config.logger.tensorboard.log_graph = True
    train_config.trainer.enable_model_summary = True
    train_config.run_folder = str(tmp_path / "with")
    run = prepare(train_config)
    run.trainer.fit(run.model, datamodule=run.data)
    assert read(train_config).Tags()["graph"]
    assert run.model.state_dict().keys() == without.model.state_dict().keys()
    for name, value in without.model.state_dict().items():
        assert torch.equal(run.model.state_dict()[name], value), name


def test_the_example_fits_the_net(train_config: DictConfig) -> None:
    model = prepare(train_config).model
    numeric, categorical = model.example_input_array
    assert (numeric.shape, categorical.shape) == ((2, 2), (2, 1))
    assert (numeric.dtype, categorical.dtype) == (torch.float32, torch.int64)
    assert model(numeric, categorical).shape == (2, 3)
    assert not any("example" in name for name in model.state_dict())


def test_related_curves_share_a_chart(train_config: DictConfig) -> None:
    fit(train_config)
    train_config.resume = train_config.run_folder
    fit(train_config, overrides=["trainer.max_epochs=3"])
    events = read(train_config)
    (layout,) = events.Tensors("custom_scalars__config__")
    charts = {
        chart.title: list(chart.multiline.tag)
        for category in layout_pb2.Layout.FromString(layout.tensor_proto.string_val[0]).category
        for chart in category.chart
    }
    assert charts["loss"] == ["train/loss", "val/nll"]
    tags = "\n".join(events.Tags()["scalars"])
    for patterns in charts.values():
        for pattern in patterns:
            assert re.search(rf"(?m)^{pattern}$", tags), pattern

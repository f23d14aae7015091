from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.graph_pb2 import GraphDef

from canopy.training.fit import prepare

pytestmark = pytest.mark.usefixtures("trusted_targets")


def read(config: DictConfig) -> EventAccumulator:
    events = EventAccumulator(config.run_folder)
    events.Reload()
    return events


@pytest.mark.parametrize("compiled", [False, True])
def test_the_graph_shows_the_net_on_demand(train_config: DictConfig, compiled: bool) -> None:
    train_config.logger.tensorboard.log_graph = True
    train_config.model.net.max_one_hot = 2
    run = prepare(train_config)
    if compiled:
        run.model.net.compile(backend="eager")
    run.trainer.logger.log_graph(run.model)
    run.trainer.logger.save()
    graph = GraphDef.FromString(read(train_config).Graph().SerializeToString())
    names = "\n".join(node.name for node in graph.node)
    for module in ("PeriodicEmbeddings[embedding]", "category_embeddings", "MLP/Sequential[layers]"):
        assert module in names


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

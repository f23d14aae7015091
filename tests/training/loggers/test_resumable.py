from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from tensorboard.compat.proto.graph_pb2 import GraphDef

from canopy.training.fit import prepare

pytestmark = pytest.mark.usefixtures("trusted_targets")


@pytest.mark.parametrize("compiled", [False, True])
def test_the_graph_shows_the_net_on_demand(
    train_config: DictConfig, read_events: Callable, compiled: bool
) -> None:
    train_config.logger.tensorboard.log_graph = True
    train_config.model.net.max_one_hot = 2
    run = prepare(train_config)
    if compiled:
        run.model.net.compile(backend="eager")
    run.trainer.logger.log_graph(run.model)
    run.trainer.logger.save()
    graph = GraphDef.FromString(read_events(train_config).Graph().SerializeToString())
    names = "\n".join(node.name for node in graph.node)
    for module in ("PeriodicEmbeddings[embedding]", "category_embeddings", "MLP/Sequential[layers]"):
        assert module in names


def test_a_run_with_a_graph_has_the_weights_of_one_without(
    train_config: DictConfig, read_events: Callable, tmp_path: Path
) -> None:
    train_config.model.net.dropout = 0.2
    found = []
    for log_graph in (False, True):
        train_config.logger.tensorboard.log_graph = train_config.trainer.enable_model_summary = log_graph
        train_config.run_folder = str(tmp_path / str(log_graph))
        run = prepare(train_config)
        run.fit()
        assert read_events(train_config).Tags()["graph"] == log_graph
        found.append(run.model.state_dict())
    torch.testing.assert_close(*found, rtol=0, atol=0)

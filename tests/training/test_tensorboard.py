"""What TensorBoard shows of a run: plots, histograms, hyperparameters, the net's graph."""

import time
from pathlib import Path

import pytest
import torch
from google.protobuf.json_format import MessageToDict
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.plugins.hparams import metadata

from canopy.runs.fit import fit
from canopy.runs.run import Run
from canopy.training.callbacks.histograms import ParameterHistograms
from canopy.training.fit import prepare

pytestmark = pytest.mark.usefixtures("trusted_targets")


def read_events(config: DictConfig) -> EventAccumulator:
    everything = dict.fromkeys(("images", "histograms", "scalars"), 0)
    events = EventAccumulator(config.run_folder, size_guidance=everything)
    events.Reload()
    return events


def test_a_resumed_run_shows_everything_once(train_config: DictConfig) -> None:
    train_config.callbacks.confusion_matrix.every_n_validations = 2
    train_config.callbacks.histograms.every_n_steps = 8
    train_config.model.net.embedding = None
    train_config.trainer.max_epochs = 3
    model = prepare(train_config).model
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    fit(train_config)
    # TensorBoard orders event files by the second they were made in.
    time.sleep(1 - time.time() % 1)
    train_config.resume = train_config.run_folder
    fit(train_config, overrides=["trainer.max_epochs=4"])
    events = read_events(train_config)

    assert [image.step for image in events.Images("confusion_matrix/val")] == [19, 39]
    assert (Path(train_config.run_folder) / "confusion_matrix_val.png").exists()

    expected = {f"{kind}/{name}" for kind in ("weights", "gradients") for name in weights}
    assert set(events.Tags()["histograms"]) == expected
    for tag in expected:
        assert [histogram.step for histogram in events.Histograms(tag)] == [0, 8, 16, 24, 32]
    for name, values in weights.items():
        first = events.Histograms(f"weights/{name}")[0].histogram_value
        assert (first.num, first.min) == (values.numel(), pytest.approx(float(values.min())))
        assert first.sum == pytest.approx(float(values.sum()), abs=1e-4)

    (config,) = events.Tensors("config/text_summary")
    lines = config.tensor_proto.string_val[0].decode().splitlines()
    assert "        monitor: val/accuracy" in lines
    assert all(line.startswith("    ") for line in lines)

    hyperparameters = events.PluginTagToContent("hparams")
    content = hyperparameters[metadata.SESSION_START_INFO_TAG]
    values = metadata.parse_session_start_info_plugin_data(content).hparams
    shown = {name: MessageToDict(value) for name, value in values.items()}
    expected = {"seed": 42, "data.batch_size": 32, "trainer.max_epochs": 4}
    expected |= {"model.loss": "null"}
    expected |= {"model.net.hidden": "[16]", "model.net.embedding": "null"}
    expected |= {"model.scheduler.cycle_momentum": "false", "model.scheduler.max_lr": 0.015}
    assert shown.items() >= expected.items()
    assert not {"trainer.devices", "model._target_", "data.folder"} & shown.keys()
    # No run decides what the table shows of all.
    assert metadata.EXPERIMENT_TAG not in hyperparameters
    assert len(list(Path(train_config.run_folder).glob("events.*.hparams"))) == 1
    best = Run(train_config.run_folder).record["best"]
    scores = {name.replace("val/", "best/", 1): value for name, value in best["metrics"].items()}
    for name, value in {**scores, "hp_metric": best["score"]}.items():
        (event,) = events.Scalars(name)
        assert (event.step, event.value) == (40, pytest.approx(value))


def test_what_is_shown_on_demand_leaves_the_weights_as_they_are(
    train_config: DictConfig, tmp_path: Path
) -> None:
    train_config.model.net.dropout = 0.2
    found = []
    for shown in (False, True):
        train_config.logger.tensorboard.log_graph = train_config.trainer.enable_model_summary = shown
        train_config.callbacks.histograms.every_n_steps = 8 if shown else None
        train_config.callbacks.confusion_matrix.every_n_validations = 1 if shown else None
        train_config.run_folder = str(tmp_path / str(shown))
        run = prepare(train_config)
        run.fit()
        tags = read_events(train_config).Tags()
        assert [bool(tags[kind]) for kind in ("graph", "histograms", "images")] == [shown] * 3
        found.append(run.model.state_dict())
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.parametrize("compiled", [False, True])
def test_the_graph_shows_the_net(train_config: DictConfig, compiled: bool) -> None:
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


def test_histograms_leave_out_values_that_are_not_finite(
    train_config: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_config.callbacks.histograms.every_n_steps = 8
    logged = ParameterHistograms.on_before_optimizer_step

    def spoil(callback, trainer, model, optimizer) -> None:
        model.net.layers[0].weight.grad[0] = float("nan")
        model.net.layers[0].bias.grad[:] = float("inf")
        logged(callback, trainer, model, optimizer)
        optimizer.zero_grad()

    monkeypatch.setattr(ParameterHistograms, "on_before_optimizer_step", spoil)
    run = prepare(train_config)
    run.fit()
    weight, events = run.model.net.layers[0].weight, read_events(train_config)
    histogram = events.Histograms("gradients/net.layers.0.weight")[0].histogram_value
    assert histogram.num == weight.numel() - weight.shape[1]
    assert "gradients/net.layers.0.bias" not in events.Tags()["histograms"]


def test_the_confusion_matrix_of_the_test_rows_is_always_drawn(train_config: DictConfig) -> None:
    run = prepare(train_config)
    run.trainer.test(run.model, datamodule=run.data, verbose=False)
    plot = Path(train_config.run_folder) / "confusion_matrix_test.png"
    assert plot.read_bytes().startswith(b"\x89PNG")

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from canopy.runs.fit import fit
from canopy.training.callbacks.histograms import ParameterHistograms
from canopy.training.fit import prepare

pytestmark = pytest.mark.usefixtures("trusted_targets")


def read(config: DictConfig) -> EventAccumulator:
    events = EventAccumulator(config.run_folder, size_guidance={"histograms": 0})
    events.Reload()
    return events


@pytest.fixture
def histogram_config(train_config: DictConfig) -> DictConfig:
    """Two epochs of 10 steps, histograms before the steps 0, 8 and 16."""
    train_config.callbacks.histograms.every_n_steps = 8
    return train_config


def test_each_parameter_has_its_weights_and_gradients(
    histogram_config: DictConfig, train_longer: Callable[..., None]
) -> None:
    model = prepare(histogram_config).model
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    fit(histogram_config)
    train_longer(histogram_config, max_epochs=4)
    events = read(histogram_config)
    expected = {f"{kind}/{name}" for kind in ("weights", "gradients") for name in start}
    assert set(events.Tags()["histograms"]) == expected
    for tag in expected:
        # A resumed run has each once.
        assert [histogram.step for histogram in events.Histograms(tag)] == [0, 8, 16, 24, 32]
    for name, values in start.items():
        first = events.Histograms(f"weights/{name}")[0].histogram_value
        assert (first.num, first.min) == (values.numel(), pytest.approx(float(values.min())))
        assert first.sum == pytest.approx(float(values.sum()), abs=1e-4)


def test_gradients_are_those_of_the_accumulated_step_before_clipping(histogram_config: DictConfig) -> None:
    def largest(**options: float) -> list[tuple[int, float]]:
        config = histogram_config.copy()
        config.run_folder += "_".join(options)
        config.trainer.max_epochs = 1
        config.trainer.update(options)
        run = prepare(config)
        run.trainer.fit(run.model, datamodule=run.data)
        name = "gradients/net.layers.2.weight"
        return [(item.step, item.histogram_value.max) for item in read(config).Histograms(name)]

    clipped = largest(gradient_clip_val=1e-6)
    assert [step for step, _ in clipped] == [0, 8]
    assert clipped[0] == largest()[0]
    assert clipped[0][1] > 1e-3
    accumulated = largest(accumulate_grad_batches=2)
    assert [step for step, _ in accumulated] == [0]
    assert accumulated != clipped[:1]


def test_histograms_leave_the_weights_as_they_are(histogram_config: DictConfig, tmp_path: Path) -> None:
    found = []
    for every in (8, None):
        histogram_config.callbacks.histograms.every_n_steps = every
        histogram_config.run_folder = str(tmp_path / str(every))
        run = prepare(histogram_config)
        run.fit(None)
        found.append(run.model.state_dict())
    assert read(histogram_config).Tags()["histograms"] == []
    for name, value in found[0].items():
        assert torch.equal(found[1][name], value), name


def test_values_that_are_not_finite_are_left_out(
    histogram_config: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepare(histogram_config)
    logged = ParameterHistograms.on_before_optimizer_step

    def spoil(callback, trainer, model, optimizer) -> None:
        model.net.layers[0].weight.grad[0] = float("nan")
        model.net.layers[0].bias.grad[:] = float("inf")
        logged(callback, trainer, model, optimizer)
        optimizer.zero_grad()

    monkeypatch.setattr(ParameterHistograms, "on_before_optimizer_step", spoil)
    run.fit(None)
    events = read(histogram_config)
    weight = run.model.net.layers[0].weight
    histogram = events.Histograms("gradients/net.layers.0.weight")[0].histogram_value
    assert histogram.num == weight.numel() - weight.shape[1]
    assert "gradients/net.layers.0.bias" not in events.Tags()["histograms"]

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from canopy.runs.fit import fit
from canopy.training.callbacks.histograms import ParameterHistograms
from canopy.training.fit import Training, prepare

pytestmark = pytest.mark.usefixtures("trusted_targets")


@pytest.fixture
def histogram_config(train_config: DictConfig) -> DictConfig:
    """Two epochs of 10 steps, histograms before the steps 0, 8 and 16."""
    train_config.callbacks.histograms.every_n_steps = 8
    return train_config


def trained(config: DictConfig) -> Training:
    run = prepare(config)
    run.fit()
    return run


def test_each_parameter_has_its_weights_and_gradients(
    histogram_config: DictConfig, train_longer: Callable[..., None], read_events: Callable
) -> None:
    model = prepare(histogram_config).model
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    fit(histogram_config)
    train_longer(histogram_config, max_epochs=4)
    events = read_events(histogram_config)
    expected = {f"{kind}/{name}" for kind in ("weights", "gradients") for name in start}
    assert set(events.Tags()["histograms"]) == expected
    for tag in expected:
        # A resumed run has each once.
        assert [histogram.step for histogram in events.Histograms(tag)] == [0, 8, 16, 24, 32]
    for name, values in start.items():
        first = events.Histograms(f"weights/{name}")[0].histogram_value
        assert (first.num, first.min) == (values.numel(), pytest.approx(float(values.min())))
        assert first.sum == pytest.approx(float(values.sum()), abs=1e-4)


def test_histograms_are_shown_on_demand_and_leave_the_weights_as_they_are(
    histogram_config: DictConfig, read_events: Callable, tmp_path: Path
) -> None:
    found = trained(histogram_config).model.state_dict()
    histogram_config.callbacks.histograms.every_n_steps = None
    histogram_config.run_folder = str(tmp_path / "none")
    for name, value in trained(histogram_config).model.state_dict().items():
        assert torch.equal(found[name], value), name
    assert read_events(histogram_config).Tags()["histograms"] == []


def test_histograms_need_tensorboard(histogram_config: DictConfig) -> None:
    histogram_config.logger.tensorboard = None
    with pytest.raises(ValueError, match="every_n_steps needs a TensorBoard logger; got none"):
        fit(histogram_config)
    histogram_config.trainer.fast_dev_run = True
    fit(histogram_config)


def test_values_that_are_not_finite_are_left_out(
    histogram_config: DictConfig, read_events: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged = ParameterHistograms.on_before_optimizer_step

    def spoil(callback, trainer, model, optimizer) -> None:
        model.net.layers[0].weight.grad[0] = float("nan")
        model.net.layers[0].bias.grad[:] = float("inf")
        logged(callback, trainer, model, optimizer)
        optimizer.zero_grad()

    monkeypatch.setattr(ParameterHistograms, "on_before_optimizer_step", spoil)
    weight = trained(histogram_config).model.net.layers[0].weight
    events = read_events(histogram_config)
    histogram = events.Histograms("gradients/net.layers.0.weight")[0].histogram_value
    assert histogram.num == weight.numel() - weight.shape[1]
    assert "gradients/net.layers.0.bias" not in events.Tags()["histograms"]

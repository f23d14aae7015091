from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from canopy.runs.fit import fit
from canopy.training.callbacks.histograms import ParameterHistograms, gradient_scale
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


@pytest.mark.parametrize("max_one_hot", [100, 2], ids=["one-hot", "embedded"])
def test_each_parameter_has_its_weights_and_gradients(histogram_config: DictConfig, max_one_hot: int) -> None:
    histogram_config.model.net.max_one_hot = max_one_hot
    run = prepare(histogram_config)
    start = {name: parameter.detach().clone() for name, parameter in run.model.named_parameters()}
    run.trainer.fit(run.model, datamodule=run.data)
    events = read(histogram_config)
    expected = {f"{kind}/{name}" for kind in ("weights", "gradients") for name in start}
    assert set(events.Tags()["histograms"]) == expected
    for name, values in start.items():
        for kind in ("weights", "gradients"):
            histograms = events.Histograms(f"{kind}/{name}")
            assert [histogram.step for histogram in histograms] == [0, 8, 16]
            assert [histogram.histogram_value.num for histogram in histograms] == [values.numel()] * 3
        first = events.Histograms(f"weights/{name}")[0].histogram_value
        assert first.min == pytest.approx(float(values.min()))
        assert first.max == pytest.approx(float(values.max()))
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


def test_nothing_is_logged_by_default(train_config: DictConfig) -> None:
    run = prepare(train_config)
    assert any(isinstance(callback, ParameterHistograms) for callback in run.trainer.callbacks)
    run.trainer.fit(run.model, datamodule=run.data)
    assert read(train_config).Tags()["histograms"] == []


def test_histograms_leave_the_weights_as_they_are(histogram_config: DictConfig, tmp_path: Path) -> None:
    run = prepare(histogram_config)
    run.trainer.fit(run.model, datamodule=run.data)
    histogram_config.callbacks.histograms.every_n_steps = None
    histogram_config.run_folder = str(tmp_path / "without")
    without = prepare(histogram_config)
    without.trainer.fit(without.model, datamodule=without.data)
    for name, value in without.model.state_dict().items():
        assert torch.equal(run.model.state_dict()[name], value), name


def test_a_resumed_run_has_each_histogram_once(
    histogram_config: DictConfig, train_longer: Callable[..., None]
) -> None:
    fit(histogram_config)
    train_longer(histogram_config, max_epochs=4)
    events = read(histogram_config)
    for tag in events.Tags()["histograms"]:
        assert [histogram.step for histogram in events.Histograms(tag)] == [0, 8, 16, 24, 32]


def test_values_that_are_not_finite_are_left_out(
    histogram_config: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepare(histogram_config)
    run.trainer.fit_loop.max_epochs = 1
    (callback,) = (item for item in run.trainer.callbacks if isinstance(item, ParameterHistograms))
    logged = callback.on_before_optimizer_step

    def spoil(trainer, model, optimizer) -> None:
        model.net.layers[0].weight.grad[0] = float("nan")
        model.net.layers[0].bias.grad[:] = float("inf")
        logged(trainer, model, optimizer)
        optimizer.zero_grad()

    monkeypatch.setattr(callback, "on_before_optimizer_step", spoil)
    run.trainer.fit(run.model, datamodule=run.data)
    events = read(histogram_config)
    weight = run.model.net.layers[0].weight
    histogram = events.Histograms("gradients/net.layers.0.weight")[0].histogram_value
    assert histogram.num == weight.numel() - weight.shape[1]
    assert "gradients/net.layers.0.bias" not in events.Tags()["histograms"]


@pytest.mark.parametrize(("fused", "factor"), [(True, 8.0), (False, 1.0)])
def test_a_fused_optimizer_leaves_the_scale_of_half_precision(
    train_config: DictConfig, fused: bool, factor: float
) -> None:
    run = prepare(train_config)
    optimizer = torch.optim.AdamW(run.model.parameters(), fused=fused)
    assert gradient_scale(run.trainer, optimizer) == 1
    run.trainer.precision_plugin.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    assert gradient_scale(run.trainer, optimizer) == factor


@pytest.mark.parametrize(("left", "found"), [(["csv"], "ResumableCSVLogger"), ([], "no logger")])
def test_histograms_require_a_tensorboard_logger(
    histogram_config: DictConfig, left: list[str], found: str
) -> None:
    histogram_config.logger = {name: histogram_config.logger[name] for name in left}
    run = prepare(histogram_config)
    with pytest.raises(ValueError, match=f"need a TensorBoard logger; found {found}: add it with logger="):
        run.trainer.fit(run.model, datamodule=run.data)


def test_without_histograms_no_logger_is_required(train_config: DictConfig) -> None:
    train_config.logger = None
    run = prepare(train_config)
    run.trainer.fit(run.model, datamodule=run.data)


def test_a_count_below_1_is_refused() -> None:
    with pytest.raises(ValueError, match="every_n_steps must be at least 1, or null; found 0"):
        ParameterHistograms(every_n_steps=0)

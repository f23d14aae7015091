from pathlib import Path

import pytest
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from canopy.training.fit import fit

pytestmark = pytest.mark.usefixtures("trusted_targets")


def read(config: DictConfig) -> EventAccumulator:
    events = EventAccumulator(config.run_folder)
    events.Reload()
    return events


def test_tensorboard_gets_config_hyperparameters_and_result(train_config: DictConfig) -> None:
    score = fit(train_config)
    events = read(train_config)
    assert "config/text_summary" in events.Tags()["tensors"]
    assert "learning" not in events.Tags()["scalars"]
    (hp_metric,) = events.Scalars("hp_metric")
    assert hp_metric.value == pytest.approx(score)
    (last,) = events.Scalars("last/accuracy")
    assert last.value == pytest.approx(events.Scalars("val/accuracy")[-1].value)
    plugins = events.PluginTagToContent("hparams")
    assert "_hparams_/session_start_info" in plugins
    assert b"model.optimizer.lr" in plugins["_hparams_/session_start_info"]


def test_a_resumed_run_has_its_config_once(train_config: DictConfig) -> None:
    fit(train_config)
    train_config.resume = train_config.run_folder
    fit(train_config, overrides=["trainer.max_epochs=4"])
    assert len(read(train_config).Tensors("config/text_summary")) == 1
    assert (Path(train_config.run_folder) / "config.yaml").is_file()

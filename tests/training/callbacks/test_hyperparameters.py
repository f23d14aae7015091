from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from canopy.runs.fit import fit
from canopy.runs.run import Run

pytestmark = pytest.mark.usefixtures("trusted_targets")


def read(config: DictConfig) -> EventAccumulator:
    events = EventAccumulator(config.run_folder)
    events.Reload()
    return events


def hyperparameters(events: EventAccumulator) -> dict[str, float | str]:
    """The hyperparameters of a run's row in the HParams tab."""
    content = events.PluginTagToContent("hparams")[metadata.SESSION_START_INFO_TAG]
    values = metadata.parse_session_start_info_plugin_data(content).hparams
    return {name: MessageToDict(value) for name, value in values.items()}


def metrics(events: EventAccumulator) -> dict[str, float]:
    """The metrics of a run's row in the HParams tab; each must stand there once."""
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith("best/") or tag == "hp_metric"]
    found = {}
    for tag in tags:
        (event,) = events.Scalars(tag)
        found[tag] = event.value
    return found


def test_the_row_has_what_a_person_compares_runs_by(train_config: DictConfig) -> None:
    train_config.model.net.embedding = None
    fit(train_config)
    assert hyperparameters(read(train_config)) == {
        "seed": 42,
        "data.batch_size": 32,
        "model.logit_adjustment": "true",
        "model.compile": "false",
        "model.loss": "cross_entropy",
        "model.loss.label_smoothing": 0,
        "model.net": "MLP",
        "model.net.hidden": "[16]",
        "model.net.activation": "SiLU",
        "model.net.dropout": 0,
        "model.net.embedding": "null",
        "model.net.max_one_hot": 100,
        "model.net.d_category": "null",
        "model.optimizer": "MuonAdamW",
        "model.optimizer.lr": 0.015,
        "model.optimizer.momentum": 0.9,
        "model.optimizer.weight_decay": 0.1,
        "model.scheduler": "OneCycleLR",
        "model.scheduler.cycle_momentum": "false",
        "model.scheduler.max_lr": 0.015,
        "model.scheduler.pct_start": 0.15,
        "trainer.max_epochs": 2,
        "trainer.precision": "32-true",
        "trainer.gradient_clip_val": "null",
        "trainer.accumulate_grad_batches": 1,
    }
    # No run decides what the table shows of all.
    assert metadata.EXPERIMENT_TAG not in read(train_config).PluginTagToContent("hparams")


def test_a_resumed_run_has_its_config_once_and_one_row(
    train_config: DictConfig, train_longer: Callable[..., None]
) -> None:
    fit(train_config)
    train_longer(train_config, max_epochs=4)
    events = read(train_config)
    (config,) = events.Tensors("config/text_summary")
    lines = config.tensor_proto.string_val[0].decode().splitlines()
    assert "        monitor: val/accuracy" in lines
    assert all(line.startswith("    ") for line in lines)
    assert hyperparameters(events)["trainer.max_epochs"] == 4
    best = Run(train_config.run_folder).record["best"]
    expected = {name.replace("val/", "best/", 1): value for name, value in best["metrics"].items()}
    assert metrics(events) == pytest.approx({**expected, "hp_metric": best["score"]})
    assert events.Scalars("hp_metric")[0].step == 40
    assert len(list(Path(train_config.run_folder).glob("events.*.hparams"))) == 1

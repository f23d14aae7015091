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


def hyperparameters(events: EventAccumulator) -> dict[str, float | str]:
    """The hyperparameters of a run's row in the HParams tab."""
    content = events.PluginTagToContent("hparams")[metadata.SESSION_START_INFO_TAG]
    values = metadata.parse_session_start_info_plugin_data(content).hparams
    return {name: MessageToDict(value) for name, value in values.items()}


def test_the_row_has_what_a_person_compares_runs_by(train_config: DictConfig, read_events: Callable) -> None:
    train_config.model.net.embedding = None
    fit(train_config)
    events = read_events(train_config)
    shown = hyperparameters(events)
    assert (
        shown.items()
        >= {
            "seed": 42,
            "data.batch_size": 32,
            "model.loss": "cross_entropy",
            "model.loss.label_smoothing": 0,
            "model.net.hidden": "[16]",
            "model.net.embedding": "null",
            "model.scheduler.cycle_momentum": "false",
            "model.scheduler.max_lr": 0.015,
            "trainer.max_epochs": 2,
        }.items()
    )
    assert not {"trainer.devices", "model._target_", "data.folder"} & shown.keys()
    # No run decides what the table shows of all.
    assert metadata.EXPERIMENT_TAG not in events.PluginTagToContent("hparams")


def test_a_resumed_run_has_its_config_once_and_one_row(
    train_config: DictConfig, train_longer: Callable[..., None], read_events: Callable
) -> None:
    fit(train_config)
    train_longer(train_config, max_epochs=4)
    events = read_events(train_config)
    (config,) = events.Tensors("config/text_summary")
    lines = config.tensor_proto.string_val[0].decode().splitlines()
    assert "        monitor: val/accuracy" in lines
    assert all(line.startswith("    ") for line in lines)
    assert hyperparameters(events)["trainer.max_epochs"] == 4
    best = Run(train_config.run_folder).record["best"]
    expected = {name.replace("val/", "best/", 1): value for name, value in best["metrics"].items()}
    for name, value in {**expected, "hp_metric": best["score"]}.items():
        (event,) = events.Scalars(name)
        assert (event.step, event.value) == (40, pytest.approx(value))
    assert len(list(Path(train_config.run_folder).glob("events.*.hparams"))) == 1

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from canopy.runs.fit import fit
from canopy.training.fit import prepare

pytestmark = pytest.mark.usefixtures("trusted_targets")


def images(folder: Path) -> list[int]:
    """Steps at which TensorBoard got a plot of the validation rows."""
    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    tags = events.Tags()["images"]
    return [image.step for image in events.Images("confusion_matrix/val")] if tags else []


@pytest.mark.parametrize(("every", "steps"), [(None, []), (1, [9, 19, 29, 39]), (2, [19, 39])])
def test_validation_plots_come_on_demand(
    train_config: DictConfig, every: int | None, steps: list[int]
) -> None:
    train_config.trainer.max_epochs = 4
    train_config.callbacks.confusion_matrix.every_n_validations = every
    run = prepare(train_config)
    run.trainer.fit(run.model, datamodule=run.data)
    folder = Path(train_config.run_folder)
    assert images(folder) == steps
    assert (folder / "confusion_matrix_val.png").exists() == bool(steps)


def test_a_resumed_run_keeps_its_plots(train_config: DictConfig, train_longer: Callable[..., None]) -> None:
    train_config.callbacks.confusion_matrix.every_n_validations = 2
    fit(train_config)
    assert images(Path(train_config.run_folder)) == [19]
    train_longer(train_config, max_epochs=4)
    assert images(Path(train_config.run_folder)) == [19, 39]


def test_the_test_rows_are_always_drawn(train_config: DictConfig) -> None:
    run = prepare(train_config)
    run.trainer.test(run.model, datamodule=run.data, verbose=False)
    plot = Path(train_config.run_folder) / "confusion_matrix_test.png"
    assert plot.read_bytes().startswith(b"\x89PNG")

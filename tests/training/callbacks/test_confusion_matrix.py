from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from canopy.runs.fit import fit
from canopy.training.fit import prepare

pytestmark = pytest.mark.usefixtures("trusted_targets")


@pytest.mark.parametrize(("every", "steps"), [(None, []), (1, [9, 19, 29, 39]), (2, [19, 39])])
def test_validation_plots_come_on_demand_and_continue_in_a_resumed_run(
    train_config: DictConfig,
    train_longer: Callable[..., None],
    read_events: Callable,
    every: int | None,
    steps: list[int],
) -> None:
    train_config.callbacks.confusion_matrix.every_n_validations = every
    train_config.trainer.max_epochs = 3
    fit(train_config)
    train_longer(train_config, max_epochs=4)
    events = read_events(train_config)
    found = events.Images("confusion_matrix/val") if events.Tags()["images"] else []
    assert [image.step for image in found] == steps
    assert (Path(train_config.run_folder) / "confusion_matrix_val.png").exists() == bool(steps)


def test_the_test_rows_are_always_drawn(train_config: DictConfig) -> None:
    run = prepare(train_config)
    run.trainer.test(run.model, datamodule=run.data, verbose=False)
    plot = Path(train_config.run_folder) / "confusion_matrix_test.png"
    assert plot.read_bytes().startswith(b"\x89PNG")

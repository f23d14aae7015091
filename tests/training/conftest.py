import time
from collections.abc import Callable

import pytest
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from canopy.runs.fit import fit


@pytest.fixture
def train_longer() -> Callable[..., None]:
    """Resume a finished run for more epochs, in the same process."""

    def resume(config: DictConfig, *, max_epochs: int) -> None:
        # TensorBoard orders event files by the second they were made in.
        time.sleep(1 - time.time() % 1)
        config.resume = config.run_folder
        fit(config, overrides=[f"trainer.max_epochs={max_epochs}"])

    return resume


@pytest.fixture
def read_events() -> Callable[[DictConfig], EventAccumulator]:
    """Read all that TensorBoard shows of a run."""

    def read(config: DictConfig) -> EventAccumulator:
        everything = dict.fromkeys(("images", "histograms", "scalars"), 0)
        events = EventAccumulator(config.run_folder, size_guidance=everything)
        events.Reload()
        return events

    return read

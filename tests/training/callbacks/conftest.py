import time
from collections.abc import Callable

import pytest
from omegaconf import DictConfig

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

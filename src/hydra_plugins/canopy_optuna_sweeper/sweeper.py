"""`hydra/sweeper=optuna`: trials that are pruned, survive kills and do not wait for each other."""

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from . import config as config


class CanopyOptunaSweeper(Sweeper):
    """What Hydra makes of the config; the work is done by `canopy.sweep`, which takes longer to import.

    Args:
        options: Those of `CanopyOptunaSweeperConf`.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options
        self._given: dict[str, Any] = {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._given = {
            "hydra_context": hydra_context,
            "task_function": task_function,
            "config": config,
        }

    def sweep(self, arguments: list[str]) -> None:
        from canopy.sweep.sweep import run_sweep

        run_sweep(arguments, options=self.options, **self._given)

"""`hydra/sweeper=optuna`: trials that are pruned, survive kills and do not wait for each other."""

from typing import Any

from hydra.plugins.sweeper import Sweeper

from . import config as config


class CanopyOptunaSweeper(Sweeper):
    """What Hydra makes of the config; the work is done by `canopy.sweep`, which takes longer to import.

    Args:
        options: Those of `CanopyOptunaSweeperConf`, which `canopy.sweep` reads from the composed config.
    """

    def __init__(self, **options: Any) -> None:
        self._given: dict[str, Any] = {}

    def setup(self, **given: Any) -> None:
        self._given = given

    def sweep(self, arguments: list[str]) -> None:
        from canopy.sweep.sweep import run_sweep

        run_sweep(arguments, **self._given)

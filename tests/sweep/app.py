"""A Hydra app whose jobs take no time, to try the sweeper with; STOCK=1 takes the stock plugin's."""

import math
import os
import signal
import time
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import DictConfig


@hydra.main(config_path=None, config_name="app")
def main(cfg: DictConfig) -> Any:
    time.sleep(cfg.sleep)
    if cfg.dies:
        os.kill(os.getpid(), signal.SIGKILL)
    if cfg.fails:
        raise RuntimeError("as asked for")
    if cfg.returns == "invalid":
        return math.nan
    if cfg.returns == "zero":
        return 0.0
    x, y = cfg.x, cfg.y
    if cfg.returns == "two":
        return 4 * x**2 + 4 * y**2, (x - 5) ** 2 + (y - 5) ** 2
    return x**2 + y**2 + (cfg.z or 0)


def extend(cfg: DictConfig, trial: Any) -> None:
    """Let z be near x."""
    trial.suggest_float("z", trial.params["x"] - 0.5, trial.params["x"] + 0.5)


if __name__ == "__main__":
    Plugins.instance()
    if "STOCK" in os.environ:
        from hydra_plugins.hydra_optuna_sweeper.config import OptunaSweeperConf

        ConfigStore.instance().store(
            group="hydra/sweeper", name="optuna", node=OptunaSweeperConf, provider="stock", replace=True
        )
    config = {
        "defaults": ["_self_", {"override hydra/sweeper": "optuna"}],
        "x": 0.0,
        "y": 0.0,
        "z": None,
        "sleep": 0.0,
        "fails": False,
        "dies": False,
        "returns": "one",
    }
    ConfigStore.instance().store(name="app", node=config)
    main()

"""src/train.py with Hydra's stock Optuna sweeper as hydra/sweeper=stock, for benchmarks/sweepers.py."""

import runpy
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra_plugins.hydra_optuna_sweeper.config import OptunaSweeperConf

if __name__ == "__main__":
    # As `optuna`, ours would replace it again in each process of the launcher.
    ConfigStore.instance().store(group="hydra/sweeper", name="stock", node=OptunaSweeperConf)
    runpy.run_path(str(Path(__file__).parents[1] / "src/train.py"), run_name="__main__")

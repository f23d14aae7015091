"""A Hydra app whose jobs take no time, to try the sweeper with, and how tests run it or another script.

STOCK=1 takes the stock plugin's sweeper.
"""

import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import hydra
import optuna
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import DictConfig
from optuna.trial import FrozenTrial, TrialState

ROOT = Path(__file__).parents[1]
SPACE = ("x=interval(-5.5,5.5)", "y=interval(-5.5,5.5)")
# Else Ray reports its use, and keeps a token of its own in the user's home.
RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
# Queries of trials whose point is drawn, and that have ended.
DRAWN = "select 1 from trial_params where param_name = 'y'"
ENDED = "select 1 from trials where state in ('COMPLETE', 'PRUNED')"


class App:
    """Sweeps of a script, this one by default, whose runs and studies are in a folder."""

    def __init__(self, folder: Path, script: Path = Path(__file__), *, cwd: Path = ROOT) -> None:
        self.folder, self.script, self.cwd = folder, script, cwd
        self.url = f"sqlite:///{folder}/studies.db"

    def start(self, *overrides: str, **environment: str) -> subprocess.Popen[str]:
        """Start a sweep; of an option that is given twice the later one counts."""
        options = [f"hydra.sweep.dir={self.folder}/sweep", f"hydra.sweeper.storage={self.url}"]
        options += ["hydra.sweeper.study_name=s", "hydra.sweeper.n_jobs=1"]
        given = {text.partition("=")[0]: text for text in (*options, *overrides)}
        command = [sys.executable, str(self.script), "-m", *given.values()]
        env = {**os.environ, **RAY, **environment}
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=self.cwd, env=env, start_new_session=True, **pipes)

    def run(self, *overrides: str, check: bool = True, **environment: str) -> str:
        return self.outputs(self.start(*overrides, **environment), check=check)[0]

    def outputs(self, *processes: subprocess.Popen[str], check: bool = True) -> list[str]:
        outputs = [process.communicate(timeout=300)[0] for process in processes]
        assert not check or {process.returncode for process in processes} == {0}, outputs
        return outputs

    def run_until(self, query: str, *overrides: str) -> subprocess.Popen[str]:
        """Start a sweep and wait until a query finds one row more than before."""
        n_before = self.count(query)
        process = self.start(*overrides)
        while self.count(query) <= n_before:
            assert process.poll() is None, "the sweep must be long enough"
            time.sleep(0.02)
        return process

    def count(self, query: str) -> int:
        """Count the rows that a query of the storage finds; none before its tables are there."""
        path = f"file:{self.folder}/studies.db?mode=ro"
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path, uri=True)) as database:
            return len(database.execute(query).fetchall())
        return 0

    def trials(self, study: str = "s") -> list[FrozenTrial]:
        return optuna.load_study(study_name=study, storage=self.url).trials

    def finished(self) -> list[FrozenTrial]:
        return [trial for trial in self.trials() if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]


def points(trials: list[FrozenTrial]) -> list[tuple[Any, ...]]:
    return [tuple(trial.params.values()) for trial in trials]


@hydra.main(config_path=None, config_name="app")
def main(cfg: DictConfig) -> Any:
    time.sleep(cfg.sleep)
    if cfg.dies:
        os.kill(os.getpid(), signal.SIGKILL)
    if cfg.fails:
        raise RuntimeError("as asked for")
    if cfg.returns == "invalid":
        return math.nan
    x, y = cfg.x, cfg.y
    if cfg.returns == "zero" or not isinstance(x, int | float):
        return 0.0
    both = 4 * x**2 + 4 * y**2, (x - 5) ** 2 + (y - 5) ** 2
    return both if cfg.returns == "two" else x**2 + y**2 + (cfg.z or 0)


def extend(cfg: DictConfig, trial: Any) -> None:
    trial.suggest_float("z", trial.params["x"] - 0.5, trial.params["x"] + 0.5)


if __name__ == "__main__":
    Plugins.instance()
    store = ConfigStore.instance().store
    if "STOCK" in os.environ:
        from hydra_plugins.hydra_optuna_sweeper.config import OptunaSweeperConf

        store(group="hydra/sweeper", name="optuna", node=OptunaSweeperConf, provider="stock", replace=True)
    values = {"x": 0.0, "y": 0.0, "z": None, "sleep": 0.0, "fails": False, "dies": False, "returns": "one"}
    store(name="app", node={"defaults": ["_self_", {"override hydra/sweeper": "optuna"}], **values})
    main()

"""Plugins of Hydra: `hydra/sweeper=optuna`, the stock plugin's and more, and the configs of one data set."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.plugins.sweeper import Sweeper

# Imported first, so that what it registers is replaced and not the other way round.
from hydra_plugins.hydra_optuna_sweeper.config import OptunaSweeperConf
from omegaconf import MISSING


@dataclass
class CanopyOptunaSweeperConf(OptunaSweeperConf):
    """Options of the sweeper, those of the stock plugin and more; docs/sweeps.md explains them."""

    _target_: str = "hydra_plugins.canopy_optuna_sweeper.CanopyOptunaSweeper"
    defaults: list[Any] = field(default_factory=lambda: [{"sampler": "tpe"}, {"pruner": "none"}])
    pruner: Any = MISSING
    timeout: float | None = None
    max_retries: int = 1
    warm_start: list[dict[str, Any]] = field(default_factory=list)
    warm_start_studies: list[str] = field(default_factory=list)
    conditional_params: dict[str, Any] = field(default_factory=dict)
    constraints: list[str] = field(default_factory=list)


STEPS = {"n_startup_trials": 5, "n_warmup_steps": 0, "interval_steps": 1}
MEDIAN = {"_target_": "optuna.pruners.MedianPruner"}
# Optuna's pruners, by their names there; an option that is left out has Optuna's own default.
PRUNERS: dict[str, dict[str, Any]] = {
    "none": {"_target_": "optuna.pruners.NopPruner"},
    "median": {**MEDIAN, **STEPS},
    "percentile": {"_target_": "optuna.pruners.PercentilePruner", "percentile": 25.0, **STEPS},
    "asha": {"_target_": "optuna.pruners.SuccessiveHalvingPruner", "min_resource": 1, "reduction_factor": 4},
    "hyperband": {"_target_": "optuna.pruners.HyperbandPruner", "min_resource": 1, "reduction_factor": 3},
    "patient": {"_target_": "optuna.pruners.PatientPruner", "wrapped_pruner": MEDIAN, "patience": 1},
}


class CanopyOptunaSweeper(Sweeper):
    """The sweeper; `canopy.sweep`, which reads the options from the composed config, does the work."""

    def __init__(self, **options: Any) -> None:
        self._given: dict[str, Any] = {}

    def setup(self, **given: Any) -> None:
        self._given = given

    def sweep(self, arguments: list[str]) -> None:
        # Here, since Hydra imports this module for each command.
        from canopy.sweep.sweep import run_sweep

        run_sweep(arguments, **self._given)


class OwnConfigs(SearchPathPlugin):
    """Search the folder `paths.own_configs` of the `params.yaml` that `mount_params` has read."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        params = ConfigStore.instance().repo.get("params.yaml")
        if params is None or (own := params.node.paths.get("own_configs")) is None:
            return
        folder = Path(params.provider).parent / own
        if folder.is_dir():
            search_path.append("params.yaml", f"file://{folder.resolve()}")


store = ConfigStore.instance()
PROVIDER = "canopy_optuna_sweeper"
store.store(
    group="hydra/sweeper", name="optuna", node=CanopyOptunaSweeperConf, provider=PROVIDER, replace=True
)
for name, options in PRUNERS.items():
    store.store(group="hydra/sweeper/pruner", name=name, node=options, provider=PROVIDER, replace=True)

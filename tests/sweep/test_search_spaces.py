"""The search spaces in configs/sweep: each parses, and sweeps keys that the config has."""

from pathlib import Path

import optuna
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from canopy.baselines.models import BASELINES
from canopy.sweep.plan import Plan, make_pruner

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("rule_for_5000_rows")
SPACES = sorted(path.stem for path in (ROOT / "configs").glob("**/sweep/*.yaml"))
OF_BASELINES = [name for name in SPACES if name in BASELINES]
OF_NETS = sorted({*SPACES} - {*OF_BASELINES})


def composed(*overrides: str, command: str = "train") -> DictConfig:
    Plugins.instance()
    with initialize_config_dir(str(ROOT / "configs"), job_name=command):
        return compose(command, [*overrides], return_hydra_config=True)


def plan_of(name: str, command: str = "train") -> Plan:
    cfg = composed(f"sweep={name}", command=command)
    return Plan.make([], cfg)


@pytest.mark.parametrize("name", OF_BASELINES)
def test_each_key_is_a_setting_of_the_only_model(name: str) -> None:
    plan = plan_of(name, "baselines")
    assert plan.study_name == name
    assert plan.directions == ("minimize",)
    cfg = composed(f"sweep={name}", command="baselines")
    assert cfg.models == [name]
    settings = {f"settings.{name}.{key}" for key in cfg.settings[name]}
    assert plan.space.keys() <= settings


@pytest.mark.parametrize("name", OF_NETS)
def test_each_key_is_one_of_the_config(name: str) -> None:
    plan = plan_of(name)
    assert plan.study_name == name
    assert plan.directions == ("maximize",)
    branches = [[], *([f"{branch.key}={branch.value}"] for branch in plan.branches)]
    for overrides, keys in zip(branches, [plan.space, *(b.space for b in plan.branches)], strict=True):
        cfg = composed(f"sweep={name}", *overrides)
        for key in keys:
            known = OmegaConf.select(cfg, key) is not None or key in cfg.hydra.runtime.choices
            assert known, key


@pytest.mark.parametrize("name", OF_NETS)
def test_a_sweep_follows_the_objective(name: str) -> None:
    cfg = composed(f"sweep={name}", "objective.monitor=val/nll", "objective.mode=min")
    assert Plan.make([], cfg).directions == ("minimize",)


def pruners() -> list[str]:
    Plugins.instance()
    stored = ConfigStore.instance().repo["hydra"]["sweeper"]["pruner"]
    own = (ROOT / "configs/hydra/sweeper/pruner").glob("*.yaml")
    return sorted({Path(name).stem for name in stored} | {path.stem for path in own})


@pytest.mark.parametrize("pruner", pruners())
def test_each_pruner_can_take_the_place_of_the_sweep_s(pruner: str) -> None:
    cfg = composed("sweep=mlp", f"hydra/sweeper/pruner={pruner}")
    made = make_pruner(cfg.hydra.sweeper.pruner)
    assert (pruner == "none") == isinstance(made, optuna.pruners.NopPruner)


def test_without_a_pruner_nothing_is_pruned() -> None:
    cfg = composed("sweep=mlp", "hydra.sweeper.pruner=null")
    made = make_pruner(cfg.hydra.sweeper.pruner)
    assert isinstance(made, optuna.pruners.NopPruner)


def test_the_model_as_it_is_configured_comes_first() -> None:
    plan = plan_of("mlp_periodic")
    (point,) = plan.warm_start
    assert point.keys() == plan.space.keys()
    assert point["model.net.hidden"] == "[256,256,256]"


def test_only_one_of_two_models_has_embeddings() -> None:
    (branch,) = plan_of("architecture").branches
    assert branch.holds({"model": "mlp_periodic"})
    assert not branch.holds({"model": "mlp"})
    assert branch.space.keys() == {
        "model.net.embedding.n_frequencies",
        "model.net.embedding.d_embedding",
        "model.net.embedding.frequency_init_scale",
    }

"""The configs of sweeps: search spaces, pruners, launchers; known points; what is refused."""

from importlib.util import find_spec
from pathlib import Path

import optuna
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from canopy.baselines.baselines import BASELINES
from canopy.sweep import storage
from canopy.sweep.plan import Plan, instantiate_part
from sweep_app import ROOT

pytestmark = pytest.mark.usefixtures("rule_for_5000_rows")
CONFIGS = ROOT / "configs"


def composed(*overrides: str, command: str = "train") -> DictConfig:
    Plugins.instance()
    with initialize_config_dir(str(CONFIGS), job_name=command):
        return compose(command, [*overrides], return_hydra_config=True)


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("**/sweep/*.yaml")))
def test_each_swept_key_is_one_of_the_config(name: str) -> None:
    command, direction = ("baselines", "minimize") if name in BASELINES else ("train", "maximize")
    cfg = composed(f"sweep={name}", command=command)
    plan = Plan.make([], cfg)
    assert (plan.study_name, plan.directions) == (name, [direction])
    # The model as it is configured comes first.
    assert all(point.keys() == plan.space.keys() for point in plan.warm_start)
    if name in BASELINES:
        assert cfg.models == [name]
        assert plan.space.keys() <= {f"settings.{name}.{key}" for key in cfg.settings[name]}
        return
    branches = {(): plan.space, **{(f"{key}={value}",): space for key, value, space, _ in plan.branches}}
    for overrides, space in branches.items():
        cfg = composed(f"sweep={name}", *overrides)
        for key in space:
            assert OmegaConf.select(cfg, key) is not None or key in cfg.hydra.runtime.choices, key
    cfg = composed(f"sweep={name}", "objective.monitor=val/nll")
    assert Plan.make([], cfg).directions == ["minimize"]


def test_each_pruner_can_take_the_place_of_the_sweep_s() -> None:
    Plugins.instance()
    stored = {Path(name).stem for name in ConfigStore.instance().repo["hydra"]["sweeper"]["pruner"]}
    for name in stored | {path.stem for path in CONFIGS.glob("hydra/sweeper/pruner/*.yaml")}:
        cfg = composed("sweep=mlp", f"hydra/sweeper/pruner={name}")
        made = instantiate_part(cfg.hydra.sweeper.pruner)
        assert isinstance(made, optuna.pruners.NopPruner) == (name == "none"), name


def test_each_launcher_s_config_composes() -> None:
    Plugins.instance()
    if find_spec("ray") is None:
        # What its plugin would register, which is too large to be installed for a test.
        node = {"_target_": "RayLauncher", "ray": {"init": {"address": None}, "remote": {}}}
        ConfigStore.instance().store(
            group="hydra/launcher", name="ray", node=node, provider="stand-in", replace=True
        )
    for path in CONFIGS.glob("hydra/launcher/*.yaml"):
        cfg = composed("sweep=mlp", f"hydra/launcher={path.stem}", "hydra.sweeper.n_jobs=16").hydra.launcher
        assert cfg._target_.endswith(("SlurmLauncher", "RayLauncher"))
        assert "???" not in OmegaConf.to_yaml(cfg)


def test_study_whose_command_died_while_it_was_made_gets_each_known_point_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "SET_UP_SECONDS", 0)
    options = (f"hydra.sweeper.storage=sqlite:///{tmp_path}/s.db", "hydra.sweeper.warm_start=[{x:1},{x:2}]")
    plan = Plan.make(["x=choice(1,2)"], composed("sweep=mlp", *options, f"hydra.sweep.dir={tmp_path}"))
    enqueue_trial = optuna.Study.enqueue_trial

    def die(study: optuna.Study, point: dict[str, int]) -> None:
        enqueue_trial(study, point)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "enqueue_trial", die)
        with pytest.raises(KeyboardInterrupt):
            storage.open_study(plan)
    study, _, is_new = storage.open_study(plan)
    assert not is_new
    assert [trial.system_attrs["fixed_params"] for trial in study.trials] == [{"x": 1}, {"x": 2}]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+hydra.sweeper.conditional_params={z:{1:{w:2}}}", "must have keys of model.net.*; got z"),
        ("hydra.sweeper.warm_start=[{z:1}]", "must have keys of model.net.hidden.*; got z"),
        ("hydra.sweeper.warm_start=[{model.net.dropout:2}]", "must be within .*; got model.net.dropout=2"),
        ("hydra.sweeper.n_jobs=0", "hydra.sweeper.n_jobs must be at least 1; got 0"),
        ("hydra.sweeper.max_failure_rate=2", "must be from 0 to 1; got 2"),
        ("hydra.sweeper.direction=minimize", "must be that of objective.mode=max; got minimize"),
        ("hydra.sweeper.constraints=[best.score]", "must be bounds such as .*; got 'best.score'"),
    ],
)
def test_invalid_option_is_refused(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plan.make([], composed("sweep=mlp", override))

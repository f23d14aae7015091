import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from optuna.trial import TrialState

from canopy.runs.keys import training_values
from canopy.sweep.export import export_trial
from sweep_app import ROOT

Make = Callable[..., Any]
OVERRIDES = [
    *("experiment=mlp", "data.batch_size=256", "model=mlp_periodic", "model.optimizer.lr=0.01"),
    *("model.net.hidden=[16, 8]", "trainer=cpu", "trainer.max_epochs=3", "trainer.enable_progress_bar=false"),
    *("seed=7", "name=x"),
]
HEADER = """\
# @package _global_
# Trial 1 of the sweep a, of 3 complete trials.
# python src/train.py experiment=found trainer=cpu seed=7
# Expected: val/macro_f1 0.9718.
"""
EXPERIMENT = {
    "defaults": ["mlp", "_self_", {"override /data": "default"}, {"override /model": "mlp_periodic"}],
    "data": {"batch_size": 256},
    "model": {"optimizer": {"lr": 0.01}, "net": {"hidden": [16, 8]}},
    "trainer": {"max_epochs": 3},
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)


def composed(*overrides: str) -> Any:
    with initialize_config_dir(str(Path("configs").absolute()), job_name="train"):
        return compose("train", [*overrides])


def make_run(*overrides: str, **config: Any) -> Any:
    """Leave what a training run leaves, as far as sweeps read it; gives its config."""
    Path("logs/x/1").mkdir(parents=True)
    trained = OmegaConf.merge(composed(*overrides), config)
    OmegaConf.save(trained, "logs/x/1/config.yaml")
    record = {"status": "finished", "commands": [{"argv": [], "overrides": overrides}]}
    record["process"] = {"host": "here", "pid": 1}
    Path("logs/x/1/run.json").write_text(json.dumps(record))
    return trained


@pytest.fixture
def sweep(make_study: Make, add_trial: Make) -> optuna.Study:
    """A sweep of two complete trials, the second the better one, a pruned one, and one of another sweep."""
    study = make_study(monitor=("val/macro_f1",))
    add_trial(study, 0.5, **{"model": "mlp", "trainer.max_epochs": 3})
    add_trial(study, 0.9718, run="logs/x/1")
    add_trial(study, state=TrialState.PRUNED)
    add_trial(study, 0.25, from_study="b")
    return study


def test_the_best_trial_becomes_an_experiment(sweep: optuna.Study) -> None:
    trained = make_run(*OVERRIDES)
    path = export_trial(sweep, "found")
    assert path == Path("configs/experiment/found.yaml")
    assert path.read_text() == HEADER + OmegaConf.to_yaml(OmegaConf.create(EXPERIMENT))
    assert training_values(composed("experiment=found", "trainer=cpu", "seed=7")) == training_values(trained)
    with pytest.raises(FileExistsError, match=r"must have a new name; got .*found\.yaml: choose another"):
        export_trial(sweep, "found", number=0)
    # One without its run is known from the sweep.
    export_trial(sweep, "found", number=0, force=True)
    assert "# Expected: val/macro_f1 0.5.\n" in path.read_text()
    found = composed("experiment=found")
    assert (found.model.net.embedding, found.model.optimizer.lr, found.trainer.max_epochs) == (None, 0.01, 3)


@pytest.mark.parametrize(
    ("overrides", "config", "header"),
    [
        (["sweep=mlp_quick", "data.batch_size=256", "++callbacks.early_stopping=null"], {}, "++callbacks.e"),
        (["preset=quick", "model.optimizer.lr=0.01"], {}, "experiment=found"),
        (["sweep=blackard_dean"], {}, "experiment=found"),
        # What params.yaml let the trial start from.
        (["seed=1"], {"pipeline": {"train": {"experiment": "mlp"}}, "data": {"batch_size": 32}}, "seed=1"),
    ],
    ids=["of the sweep's config", "preset", "preparation", "params.yaml"],
)
@pytest.mark.usefixtures("rule_for_5000_rows")
def test_all_that_decides_how_a_trial_trains_is_part_of_the_experiment(
    sweep: optuna.Study, overrides: list[str], config: dict[str, Any], header: str
) -> None:
    trained = make_run(*overrides, **config)
    assert header in export_trial(sweep, "found").read_text().splitlines()[2]
    found = composed("experiment=found")
    assert training_values(found) == training_values(trained)
    assert found.pipeline.paths == trained.pipeline.paths


NAMES = ("", "a/b", "../a", "a b", ".a", "-a", "1", "ä", "a\n", "null", "true", "nan")


@pytest.mark.parametrize(
    ("name", "number", "message"),
    [
        *((name, 0, "name must be letters") for name in NAMES),
        ("found", 2, "must be complete and of its own sweep; got 2, of 'pruned'"),
        ("found", 3, "must be complete and of its own sweep; got 3, of 'b'"),
        ("found", 9, "must be one trial to export; got none"),
        ("mlp", None, "cannot start from itself; got mlp"),
    ],
)
def test_export_refuses(sweep: optuna.Study, name: str, number: int | None, message: str) -> None:
    make_run(*OVERRIDES)
    with pytest.raises(ValueError, match=message):
        export_trial(sweep, name, number=number, force=True)


def test_export_refuses_configs_that_changed_since(sweep: optuna.Study) -> None:
    make_run(*OVERRIDES)
    path = Path("configs/model/mlp_periodic.yaml")
    for old, new, message in (
        ("defaults:", "net: {own: 1}\ndefaults:", r"got another model\.net\.own: the configs have changed"),
        ("defaults:", "defaults: [absent]\nx:", "must compose with the configs as they are; got .*absent"),
    ):
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(ValueError, match=message):
            export_trial(sweep, "found")
    assert not Path("configs/experiment/found.yaml").exists()


def test_of_several_best_trials_one_is_to_be_chosen(make_study: Make) -> None:
    study = make_study((1.0, 2.0), (2.0, 1.0), directions=("minimize", "minimize"), monitor=("val/nll", "x"))
    with pytest.raises(ValueError, match="got 0, 1: choose one with --trial"):
        export_trial(study, "found")
    assert "# Expected: val/nll 2, x 1.\n" in export_trial(study, "found", number=1).read_text()


def test_a_study_from_elsewhere_adds_nothing_to_the_config(make_study: Make, add_trial: Make) -> None:
    planted = "\npublish: {run: planted}\n"
    study = make_study(name=f"a{planted}b", monitor=(f"val/accuracy{planted}",))
    add_trial(study, 0.5, seed=f"'{planted}'")
    text = export_trial(study, "found").read_text()
    assert OmegaConf.create(text).keys() == {"defaults", "model"}
    add_trial(study, 0.75, **{"callbacks.best_checkpoint.dirpath": "/planted"})
    with pytest.raises(ValueError, match=r"into its run's folder.*found callbacks.best_checkpoint.dir"):
        export_trial(study, "other")
    assert not Path("configs/experiment/other.yaml").exists()

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from optuna.trial import TrialState

from canopy.runs.run import Run
from canopy.sweep.export import export_trial, write_experiment
from canopy.sweep.loading import Sweep, load_sweep
from canopy.sweep.overrides import Choice, choice_of_sweep, split_overrides, start_overrides

Make = Callable[..., Any]
ROOT = Path(__file__).parents[2]
OVERRIDES = [
    "experiment=mlp",
    "data.batch_size=256",
    "model=mlp_periodic",
    "model.optimizer.lr=0.01",
    "model.net.hidden=[16, 8]",
    "trainer=cpu",
    "trainer.max_epochs=3",
    "trainer.enable_progress_bar=false",
    "seed=7",
    "name=x",
    "hydra.sweeper.n_trials=5",
]
RECORD = {
    "best": {"monitor": "val/macro_f1", "score": 0.97182},
    "training": {"train_seconds": 139.6, "device": "cpu", "n_threads": 2},
}
EXPECTED = """\
# @package _global_
# The best of 2 complete trials of the sweep a: trial 1.
# python src/train.py experiment=found trainer=cpu seed=7
# Expected: validation macro f1 0.9718, 140 s of training on cpu with 2 threads.
defaults:
- mlp
- _self_
- override /model: mlp_periodic

data:
  batch_size: 256
model:
  optimizer:
    lr: 0.01
  net:
    hidden:
    - 16
    - 8
trainer:
  max_epochs: 3
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    return tmp_path


def composed(project: Path, overrides: list[str]) -> Any:
    with initialize_config_dir(str(project / "configs"), job_name="train"):
        return compose("train", overrides)


@pytest.fixture
def sweep(url: str, project: Path, make_study: Make, add_trial: Make, make_run: Make) -> Sweep:
    """A sweep of two complete trials, the second the better one, and a pruned one."""
    study = make_study(url, monitor=("val/macro_f1",))
    add_trial(study, 0.5, **{"model": "mlp", "trainer.max_epochs": 3})
    add_trial(study, 0.97182, run="logs/x/1")
    add_trial(study, state=TrialState.PRUNED)
    config = OmegaConf.to_yaml(composed(project, [text for text in OVERRIDES if "hydra" not in text]))
    make_run(project / "logs/x/1", config, overrides=OVERRIDES, **RECORD)
    return load_sweep("a", url)


def test_the_best_trial_becomes_an_experiment(sweep: Sweep, project: Path) -> None:
    path = export_trial(sweep, "found", project=project)
    assert path == project / "configs/experiment/found.yaml"
    assert path.read_text() == EXPECTED
    found = composed(project, ["experiment=found", "trainer=cpu", "seed=7"])
    trained = OmegaConf.load(project / "logs/x/1/config.yaml")
    assert found.model == trained.model
    assert found.data == trained.data
    assert found.trainer.max_epochs == 3


def test_what_the_sweep_s_config_sets_is_part_of_the_experiment(
    url: str, project: Path, make_study: Make, add_trial: Make, make_run: Make
) -> None:
    (project / "configs/sweep/own.yaml").write_text(
        "# @package _global_\ndefaults:\n  - mlp\n  - _self_\n"
        "trainer: {max_epochs: 24, log_every_n_steps: 7}\n"
        "data: {batch_size: 256}\nmodel: {net: {activation: ReLU}}\n"
    )
    overrides = ["model.net.activation=GELU", "model.optimizer.lr=0.01", "sweep=own"]
    add_trial(make_study(url), 0.5, run="logs/x/0")
    make_run(
        project / "logs/x/0",
        OmegaConf.to_yaml(composed(project, overrides)),
        overrides=overrides,
        best=RECORD["best"],
        training={"train_seconds": 99.6, "device": "cpu", "n_threads": 1},
    )
    text = export_trial(load_sweep("a", url), "found", project=project).read_text()
    assert "100 s of training on cpu with 1 thread.\n" in text
    assert OmegaConf.to_container(OmegaConf.create(text)) == {
        "defaults": ["_self_", {"override /model": "mlp"}],
        "data": {"batch_size": 256},
        "model": {"net": {"activation": "GELU"}, "optimizer": {"lr": 0.01}},
        "trainer": {"max_epochs": 24},
    }


def test_what_params_yaml_let_the_trial_start_from_is_part_of_the_experiment(
    project: Path, make_run: Make
) -> None:
    config = OmegaConf.create({"pipeline": {"train": {"experiment": "mlp"}}, "data": {}, "model": {}})
    config.pipeline.train.overrides = (
        "trainer=cpu data.batch_size=32 trainer.max_epochs=50 'model.net.hidden=[64]'"
    )
    make_run(project / "logs/x/0", OmegaConf.to_yaml(config), overrides=[])
    run, typed = Run(project / "logs/x/0"), ["model.net.hidden=[8]", "sweep=mlp_quick"]
    choice = split_overrides(typed, configs=project / "configs", start=start_overrides(run, typed))
    assert (choice.experiments, choice.command) == (["mlp"], ["trainer=cpu"])
    assert choice.values["data.batch_size"] == 32
    assert choice.values["model.net.hidden"] == [8]
    assert choice.values["trainer.max_epochs"] == 16
    assert start_overrides(run, ["experiment=fast"]) == []


def test_a_trial_without_its_run_is_known_from_the_sweep(sweep: Sweep, project: Path) -> None:
    path = export_trial(sweep, "found", number=0, project=project)
    assert path.read_text().splitlines()[1:4] == [
        "# One of 2 complete trials of the sweep a: trial 0.",
        "# python src/train.py experiment=found",
        "# Expected: validation macro f1 0.5000.",
    ]
    found = composed(project, ["experiment=found"])
    assert (found.model.net.embedding, found.model.optimizer.lr, found.trainer.max_epochs) == (None, 0.01, 3)


def test_an_experiment_is_replaced_only_by_force(sweep: Sweep, project: Path) -> None:
    path = export_trial(sweep, "found", number=0, project=project)
    before = path.read_text()
    with pytest.raises(FileExistsError, match=r"must have a new name; got .*found\.yaml: choose another"):
        export_trial(sweep, "found", project=project)
    assert path.read_text() == before
    export_trial(sweep, "found", force=True, project=project)
    assert path.read_text() == EXPECTED


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["", "a/b", "../a", "a b", "a.b", ".a", "-a", "1", "default", "null", "ä", "a\n"]
)
def test_export_refuses_name(sweep: Sweep, project: Path, name: str) -> None:
    with pytest.raises(ValueError, match="name must be letters, digits, - and _"):
        export_trial(sweep, name, force=True, project=project)


@pytest.mark.parametrize(
    ("name", "number", "message"),
    [
        ("found", 2, "must be complete; got trial 2, which is pruned"),
        ("found", 9, "must be one of the sweep; got 9"),
        ("mlp", None, "cannot start from itself; got mlp"),
    ],
)
def test_export_refuses_trial(
    sweep: Sweep, project: Path, name: str, number: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        export_trial(sweep, name, number=number, force=True, project=project)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("mlp", "dropout: 0.0", "dropout: 0.5", "got model.net.dropout 0.5 instead of 0.0: the configs have"),
        ("mlp_periodic", "defaults:", "defaults: [absent]\nx:", "An experiment must compose; got .*absent"),
    ],
)
def test_export_refuses_configs_that_changed_since(
    sweep: Sweep, project: Path, file: str, old: str, new: str, message: str
) -> None:
    path = project / f"configs/model/{file}.yaml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        export_trial(sweep, "found", project=project)
    assert not (project / "configs/experiment/found.yaml").exists()


def test_of_several_best_trials_one_is_to_be_chosen(
    url: str, project: Path, make_study: Make, add_trial: Make
) -> None:
    study = make_study(url, "b", directions=("minimize", "minimize"), monitor=("val/nll", "x"))
    with pytest.raises(ValueError, match="one best trial to export; got none complete"):
        export_trial(load_sweep("b", url), "found", project=project)
    for values in ((1.0, 2.0), (2.0, 1.0)):
        add_trial(study, values)
    with pytest.raises(ValueError, match="got 0, 1 on the Pareto front: choose one with --trial"):
        export_trial(load_sweep("b", url), "found", project=project)
    path = export_trial(load_sweep("b", url), "found", number=1, project=project)
    assert path.read_text().splitlines()[3] == "# Expected: validation nll 2.0000, x 1.0000."


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"from_study": "b"}, "of its own sweep; got trial 0, which is from b"),
        (
            {"callbacks.best_checkpoint.dirpath": "/planted", "publish.run": "planted"},
            "must write into its run's folder.*found callbacks.best_checkpoint.dir",
        ),
    ],
    ids=["from another sweep", "writes elsewhere"],
)
def test_export_refuses_what_a_study_holds(
    url: str, project: Path, make_study: Make, add_trial: Make, attributes: dict[str, str], message: str
) -> None:
    add_trial(make_study(url), 0.5, **attributes)
    with pytest.raises(ValueError, match=message):
        export_trial(load_sweep("a", url), "found", project=project)
    assert not (project / "configs/experiment/found.yaml").exists()


def test_overrides_are_split_into_choice_and_command() -> None:
    choice = split_overrides(
        ["+model.net.x=null", "callbacks.progress_bar=null", "callbacks.histograms.every_n_steps=5",
         "trainer.devices=2", "logger=csv", "sweep.name=a", "hydra/sweeper=optuna", "experiment=default",
         "model.optimizer.lr=1e-05", "data.folder=a b", "resume=auto"],
        configs=ROOT / "configs",
    )  # fmt: skip
    assert choice.experiments == []
    assert choice.groups == {}
    assert choice.values == {
        "model.net.x": None,
        "callbacks.histograms.every_n_steps": 5,
        "model.optimizer.lr": 1e-05,
        "data.folder": "a b",
    }
    assert choice.command == ["trainer.devices=2"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("~model.net.dropout", "can hold choices and values; got"),
        ("model@x=mlp", "can hold choices and values; got"),
        ("model=mlp,mlp_periodic", "can hold choices and values; got"),
        ("a=[1", "must be Hydra's; got"),
    ],
)
def test_split_refuses_override(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_overrides([override], configs=ROOT / "configs")


def test_a_sweep_s_own_choices_are_those_of_its_experiments(root: Path) -> None:
    assert choice_of_sweep("mlp", root / "configs").groups == {"model": "mlp"}
    of_other_data = choice_of_sweep("blackard_dean", root / "configs")
    assert of_other_data.groups == {"preparation@pipeline": "blackard_dean"}
    assert of_other_data.values == {"data.batch_size": 256, "trainer.max_epochs": 60}


def test_a_study_from_elsewhere_adds_nothing_to_the_config(
    url: str, project: Path, make_study: Make, add_trial: Make
) -> None:
    planted = "\npublish: {run: planted}\n"
    study = make_study(url, f"a{planted}b", monitor=(f"val/accuracy{planted}",))
    add_trial(study, 0.5, seed=f"'{planted}'")
    sweep = load_sweep(study.study_name, url)
    text = write_experiment(
        sweep, sweep.trials[0], "found", choice=Choice(command=[f"a={planted}"]), run=None
    )
    assert OmegaConf.create(text) == {}
    assert all(line.startswith("#") for line in text.splitlines())

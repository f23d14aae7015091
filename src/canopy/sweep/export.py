"""Write a trial of a sweep as an experiment config that any later command can start from."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from optuna.trial import FrozenTrial, TrialState

from canopy.files import write_text
from canopy.places import display_path
from canopy.runs.keys import MACHINE, training_values
from canopy.runs.run import Run
from canopy.runs.run_folder import check_written_paths
from canopy.sweep import FROM_STUDY, SCRIPT
from canopy.sweep.outcome import overrides_of, run_of
from canopy.sweep.trials import best_of, objectives_of, state_of
from canopy.text_tables import format_value

# The choices of config groups that an experiment makes.
GROUPS = ("preset", "preparation@pipeline", "data", "model")
# What an experiment leaves to its command: the draw, the machine, and what is no part of `training_values`.
COMMAND = re.compile(
    rf"\+*(callbacks.*|debug|n_threads|pipeline\..*|refit|seed|trainer|trainer\.({'|'.join(MACHINE)})\b.*)="
)
# The experiment's name in Hydra's config store while it is composed.
DRAFT = "draft_of_a_trial"


def export_trial(
    sweep: optuna.Study,
    name: str,
    *,
    number: int | None = None,
    force: bool = False,
    configs: Path = Path("configs"),
) -> Path:
    """Write a trial, by default the best, as `experiment/<name>.yaml` in the folder of the config groups.

    Raises:
        FileExistsError: If there is such an experiment.
        ValueError: If the name is none, there is no such trial, or the file would not give the config that
            the trial was trained with, or would write elsewhere than into a run's folder.
    """
    path = configs / "experiment" / f"{name}.yaml"
    if not re.fullmatch(r"[A-Za-z][\w-]*", name, re.ASCII):
        raise ValueError(f"An experiment's name must be letters, digits, - and _; got {format_value(name)!r}")
    if path.exists() and not force:
        raise FileExistsError(
            f"An experiment must have a new name; got {display_path(path)}: choose another one, or --force"
        )
    if sweep.user_attrs.get(SCRIPT) == "baselines":
        raise ValueError("A sweep to export must be of src/train.py; got one of src/baselines.py")
    trial = choose_trial(sweep, number)
    run, overrides = run_of(trial), overrides_of(trial)
    command = [text for text in overrides if COMMAND.match(text)]
    composed = _compose(configs, overrides)
    config = run.config if run else composed
    choices = composed.hydra.runtime.choices
    started = config.pipeline.train.experiment if choices.experiment == "params" else choices.experiment
    if name == started:
        raise ValueError(f"An experiment cannot start from itself; got {name}: choose another name")

    groups = [{f"override /{group}": choices[group]} for group in GROUPS if choices[group]]
    experiment = OmegaConf.create({"defaults": [started or "default", "_self_", *groups]})
    trained = training_values(config)
    start = training_values(_compose_draft(configs, experiment, command))
    for key, value in trained.items():
        if (key not in start or start[key] != value) and key.removeprefix("trainer.") not in MACHINE:
            OmegaConf.update(experiment, key, value)
    text = _header(sweep, trial, run, ["python", "src/train.py", f"experiment={name}", *command])
    text += OmegaConf.to_yaml(experiment)

    found = _compose_draft(configs, OmegaConf.create(text), command)
    with open_dict(found):
        found.run_folder = "run_folder"
    check_written_paths(found, Path(found.run_folder))
    values = training_values(found)
    differing = [key for key in {**trained, **values} if trained.get(key) != values.get(key)]
    if differing:
        raise ValueError(
            f"The experiment must give the config of trial {trial.number}; got another "
            f"{', '.join(differing)}: the configs have changed since, check out the run's commit"
        )
    write_text(path, text)
    return path


def choose_trial(sweep: optuna.Study, number: int | None) -> FrozenTrial:
    """Give a complete trial of the sweep's own by its number, or the best one."""
    chosen = best_of(sweep)
    if number is not None:
        chosen = [trial for trial in sweep.trials if trial.number == number]
    if len(chosen) != 1:
        numbers = ", ".join(str(trial.number) for trial in chosen) or "none"
        raise ValueError(f"There must be one trial to export; got {numbers}: choose one with --trial")
    (trial,) = chosen
    if trial.state is not TrialState.COMPLETE or FROM_STUDY in trial.user_attrs:
        found = trial.user_attrs.get(FROM_STUDY, state_of(trial))
        raise ValueError(
            f"A trial to export must be complete and of its own sweep; got trial {trial.number}, {found}"
        )
    return trial


def _compose_draft(configs: Path, experiment: Any, command: Sequence[str]) -> DictConfig:
    """Compose what the command in an experiment's header would train, before the file is there."""
    store = ConfigStore.instance().store
    store(group="experiment", name=DRAFT, node=experiment, package="_global_", replace=True)
    return _compose(configs, [f"experiment={DRAFT}", *command])


def _compose(configs: Path, overrides: Sequence[str]) -> DictConfig:
    try:
        with initialize_config_dir(str(configs.absolute()), job_name="train"):
            return compose("train", [*overrides], return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"The trial's config must compose with the configs as they are; got {reason}"
        ) from error


def _header(sweep: optuna.Study, trial: FrozenTrial, run: Run | None, command: Sequence[str]) -> str:
    """Write what an experiment is, how to train it, and what to expect, as far as that was recorded."""
    expected = [
        f"{name} {format_value(value)}"
        for name, value in zip(objectives_of(sweep), trial.values, strict=True)
    ]
    if training := run and run.record.get("training"):
        expected.append("{train_seconds:.0f} s on {device} with n_threads={n_threads}".format(**training))
    n = len(sweep.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    lines = [
        "@package _global_",
        f"Trial {trial.number} of the sweep {sweep.study_name}, of {n} complete trials.",
        shlex.join(command),
        f"Expected: {', '.join(expected)}.",
    ]
    # Each on one line: what a study holds must not end the comment.
    return "".join(f"# {' '.join(line.split())}\n" for line in lines)

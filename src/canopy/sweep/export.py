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
from canopy.quoting import write_override
from canopy.runs.keys import MACHINE, training_values
from canopy.runs.run_folder import check_written_paths
from canopy.sweep import FROM_STUDY, SCRIPT
from canopy.sweep.trials import best_of, objectives_of, overrides_of, run_of, state_of
from canopy.text_tables import format_value

# The choices of config groups that an experiment makes.
GROUPS = ("preset", "preparation@pipeline", "data", "model")
# What an experiment leaves to its command: the draw, the machine, and what is no part of `training_values`.
COMMAND = re.compile(
    rf"\+*(callbacks.*|debug|n_threads|pipeline\..*|refit|seed|trainer|trainer\.({'|'.join(MACHINE)})\b.*)="
)


def export_trial(
    sweep: optuna.Study,
    name: str,
    *,
    number: int | None = None,
    force: bool = False,
    configs: Path = Path("configs"),
) -> Path:
    """Write a trial, by default the best, as `experiment/<name>.yaml` in the folder of the config groups."""
    path = configs / "experiment" / f"{name}.yaml"
    # Hydra would read `null` or `true` as something else.
    if not re.fullmatch(r"[A-Za-z][\w-]*", name, re.ASCII) or '"' in write_override("", name):
        raise ValueError(
            f"An experiment's name must be letters, digits, - and _, and a text; got {format_value(name)!r}"
        )
    if path.exists() and not force:
        raise FileExistsError(
            f"An experiment must have a new name; got {display_path(path)}: choose another one, or --force"
        )
    if (script := sweep.user_attrs.get(SCRIPT, "train")) not in ("train", "cross_validate"):
        raise ValueError(f"An experiment must be of a sweep of src/train.py; got one of src/{script}.py")
    trial = _choose_trial(sweep, number)
    # Of a cross-validation: how the rows are divided is not part of an experiment.
    overrides = [text for text in overrides_of(trial) if not text.startswith(("n_jobs=", "split."))]
    run = run_of(trial)
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
    text = _header(sweep, trial, ["python", "src/train.py", f"experiment={name}", *command])
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


def _choose_trial(sweep: optuna.Study, number: int | None) -> FrozenTrial:
    """Give a complete trial of the sweep's own by its number, or the best one."""
    found = best_of(sweep) if number is None else [one for one in sweep.trials if one.number == number]
    if len(found) != 1:
        numbers = ", ".join(str(trial.number) for trial in found) or "none"
        raise ValueError(f"There must be one trial to export; got {numbers}: choose one with --trial")
    (trial,) = found
    state = trial.user_attrs.get(FROM_STUDY, state_of(trial))
    if trial.state is not TrialState.COMPLETE or FROM_STUDY in trial.user_attrs:
        raise ValueError(
            f"A trial to export must be complete and of its own sweep; got {trial.number}, of {state!r}"
        )
    return trial


def _compose_draft(configs: Path, experiment: Any, command: Sequence[str]) -> DictConfig:
    """Compose what the command in an experiment's header would train, before the file is there."""
    store = ConfigStore.instance().store
    store(group="experiment", name="draft_of_a_trial", node=experiment, package="_global_", replace=True)
    return _compose(configs, ["experiment=draft_of_a_trial", *command])


def _compose(configs: Path, overrides: Sequence[str]) -> DictConfig:
    try:
        with initialize_config_dir(str(configs.absolute()), job_name="train"):
            return compose("train", [*overrides], return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"A trial must compose with the configs as they are; got {reason}") from error


def _header(sweep: optuna.Study, trial: FrozenTrial, command: Sequence[str]) -> str:
    """Write what an experiment is, how to train it, and what to expect."""
    scores = zip(objectives_of(sweep), trial.values, strict=True)
    n = len(sweep.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    lines = [
        "@package _global_",
        f"Trial {trial.number} of the sweep {sweep.study_name}, of {n} complete trials.",
        shlex.join(command),
        f"Expected: {', '.join(f'{name} {format_value(value)}' for name, value in scores)}.",
    ]
    # Each on one line: what a study holds must not end the comment.
    return "".join(f"# {' '.join(line.split())}\n" for line in lines)

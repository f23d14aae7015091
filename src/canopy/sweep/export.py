"""Write a trial of a sweep as an experiment config that any later command can start from."""

import re
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from optuna.trial import FrozenTrial, TrialState

from canopy.files import write_text
from canopy.places import display_path
from canopy.runs.keys import training_values
from canopy.runs.run import Run
from canopy.runs.written_paths import check_written_paths
from canopy.sweep.attributes import FROM_STUDY
from canopy.sweep.loading import Sweep, state
from canopy.sweep.overrides import (
    Choice,
    run_of,
    split_overrides,
    start_overrides,
    trial_overrides,
)
from canopy.text_tables import decimals, format_value

CONFIGS = "configs"
_N_SHOWN = 3
_NAME = re.compile(r"[A-Za-z]\w*(-\w+)*", re.ASCII)
# Hydra reads these as values, and the default experiment is that of every run.
_TAKEN = frozenset({"default", "false", "inf", "nan", "null", "true"})
_SPLITS = {"val": "validation", "train": "training"}


def export_trial(
    sweep: Sweep,
    name: str,
    *,
    number: int | None = None,
    force: bool = False,
    project: Path = Path(),
    configs: Path | None = None,
) -> Path:
    """Write a trial as `configs/experiment/<name>.yaml`.

    Args:
        sweep: The sweep.
        name: Name of the experiment.
        number: Which trial; the best one if None.
        force: Replace an experiment of this name.
        project: The folder in which the sweep was started.
        configs: Folder of the config groups, by default that in `project`.

    Returns:
        The file.

    Raises:
        FileExistsError: If there is such an experiment.
        ValueError: If the name is none, there is no such trial, or the file would not give the config that
            the trial was trained with, or would write elsewhere than into a run's folder.
    """
    configs = project / CONFIGS if configs is None else configs
    path = configs / "experiment" / f"{name}.yaml"
    _check_name(name)
    if path.exists() and not force:
        raise FileExistsError(
            f"An experiment must have a new name; found {display_path(path)}: choose another one, or --force"
        )
    if sweep.script != "train":
        raise ValueError(
            f"A sweep to export must be of src/train.py; got one of src/{sweep.script}.py: "
            f'"python src/sweep.py {sweep.study_name}" prints the command of its best trial'
        )
    trial = choose_trial(sweep, number)
    if source := trial.user_attrs.get(FROM_STUDY):
        raise ValueError(
            f"A trial to export must be of its own sweep; found that trial {trial.number} is from {source}: "
            "export it from there"
        )
    run = run_of(trial, project=project)
    overrides = trial_overrides(trial, project=project)
    choice = split_overrides(overrides, configs=configs, start=start_overrides(run, overrides))
    if name in choice.experiments:
        raise ValueError(f"An experiment cannot start from itself; found {name}: choose another name")
    text = write_experiment(sweep, trial, name, choice=choice, run=run)
    composed = _compose(text, name, command=choice.command, configs=configs)
    with open_dict(composed):
        composed.run_folder = "run_folder"
    check_written_paths(composed, Path(composed.run_folder))
    if run is not None:
        _check_same(composed, run)
    write_text(path, text)
    return path


def choose_trial(sweep: Sweep, number: int | None) -> FrozenTrial:
    """Give a complete trial by its number, or the best one.

    Raises:
        ValueError: If there is no such trial, or several are best.
    """
    if number is not None:
        for trial in sweep.get_trials():
            if trial.number == number:
                if trial.state is not TrialState.COMPLETE:
                    raise ValueError(
                        f"A trial to export must be complete; found that trial {number} is {state(trial)}"
                    )
                return trial
        raise ValueError(
            f"A trial must be one of the sweep; found no trial {number}: list them without --best"
        )
    best = sweep.best
    if len(best) != 1:
        found = ", ".join(str(trial.number) for trial in best)
        found = (
            f"trials {found} on the Pareto front: choose one with --trial" if best else "no complete trial"
        )
        raise ValueError(f"There must be one best trial to export; found {found}")
    return best[0]


def write_experiment(sweep: Sweep, trial: FrozenTrial, name: str, *, choice: Choice, run: Run | None) -> str:
    """Write the text of an experiment config: what it is, how to train it, what to expect, what it sets."""
    which = "The best" if [best.number for best in sweep.best] == [trial.number] else "One"
    command = shlex.join(["python", "src/train.py", f"experiment={name}", *choice.command])
    defaults: list[Any] = [*choice.experiments, "_self_"]
    defaults += [{f"override /{group}": value} for group, value in choice.groups.items()]
    content = {"defaults": defaults} if len(defaults) > 1 else {}
    header = [
        "@package _global_",
        f"{which} of {count_complete(sweep)} of the sweep {format_value(sweep.study_name)}: "
        f"trial {trial.number}.",
        command,
        f"Expected: {expected(sweep, trial, run)}.",
    ]
    # Each on one line: what a study says must not end the comment.
    parts = [f"# {' '.join(line.splitlines())}" for line in header]
    for block in (content, choice.values):
        if block:
            parts += [OmegaConf.to_yaml(OmegaConf.create(block)).rstrip("\n"), ""]
    return "\n".join(parts).rstrip("\n") + "\n"


def count_complete(sweep: Sweep) -> str:
    """Count the complete trials, such as `3 complete trials`."""
    n = len(sweep.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    return f"{n} complete {'trial' if n == 1 else 'trials'}"


def expected(sweep: Sweep, trial: FrozenTrial, run: Run | None) -> str:
    """Say what a trial reached and what it took, as far as that was recorded."""
    record = run.record if run else {}
    scores = dict(zip(sweep.metric_names, trial.values, strict=True))
    best, training = record.get("best"), record.get("training")
    if best and len(scores) == 1:
        scores = {best["monitor"]: best["score"]}
    parts = [f"{_say(name)} {value:.{decimals(abs(value))}f}" for name, value in scores.items()]
    if training:
        n_threads = training["n_threads"]
        parts.append(
            f"{training['train_seconds']:.0f} s of training on {training['device']} with "
            f"{n_threads} {'thread' if n_threads == 1 else 'threads'}"
        )
    return ", ".join(parts)


def _say(metric: str) -> str:
    """Write a metric's name in words."""
    split, _, score = metric.rpartition("/")
    return " ".join([*([_SPLITS.get(split, split)] if split else []), score.replace("_", " ")])


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name.lower() in _TAKEN:
        raise ValueError(
            f"An experiment's name must be letters, digits, - and _, a letter first, and not one of "
            f"{', '.join(sorted(_TAKEN))}; found {format_value(name)!r}: choose another one"
        )


def _compose(text: str, name: str, *, command: list[str], configs: Path) -> DictConfig:
    """Compose what the command in the file's header would train, before the file is there."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(configs, folder, dirs_exist_ok=True)
        write_text(Path(folder) / "experiment" / f"{name}.yaml", text)
        try:
            with initialize_config_dir(folder, job_name="train"):
                return compose("train", [f"experiment={name}", *command])
        except (HydraException, OmegaConfBaseException) as error:
            raise ValueError(
                f"An experiment must compose; found {' '.join(str(error).split())}: the configs have changed "
                "since the trial; check out its commit"
            ) from error


def _check_same(composed: DictConfig, run: Run) -> None:
    """Refuse an experiment that is not what the run was trained with."""
    expected, found = training_values(run.config), training_values(composed)
    differing = [
        f"{key} {found.get(key)!r} instead of {expected.get(key)!r}"
        for key in {**expected, **found}
        if found.get(key) != expected.get(key)
    ]
    if differing:
        more = f" and {len(differing) - _N_SHOWN} more" if len(differing) > _N_SHOWN else ""
        shown = "; ".join(differing[:_N_SHOWN])
        raise ValueError(
            f"The experiment must give the config of {run.path}; found {shown}{more}: "
            "the configs have changed since; check out the run's commit, or train it again with reproduce="
        )

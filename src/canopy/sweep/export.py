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
from canopy.runs.run_folder import check_written_paths
from canopy.sweep.attributes import FROM_STUDY
from canopy.sweep.loading import Sweep, state_of
from canopy.sweep.outcome import run_of
from canopy.sweep.overrides import Choice, split_overrides, start_overrides, trial_overrides
from canopy.text_tables import decimals, format_value

_N_SHOWN = 3
_NAME = re.compile(r"[A-Za-z]\w*(-\w+)*", re.ASCII)
# Hydra reads these as values, and the default experiment is that of every run.
_TAKEN = frozenset({"default", "false", "inf", "nan", "null", "true"})
_SPLITS = {"val/": "validation ", "train/": "training "}


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
    configs = configs or project / "configs"
    path = configs / "experiment" / f"{name}.yaml"
    if not _NAME.fullmatch(name) or name.lower() in _TAKEN:
        raise ValueError(
            f"An experiment's name must be letters, digits, - and _, a letter first, and not one of "
            f"{', '.join(sorted(_TAKEN))}; got {format_value(name)!r}: choose another one"
        )
    if path.exists() and not force:
        raise FileExistsError(
            f"An experiment must have a new name; got {display_path(path)}: choose another one, or --force"
        )
    if sweep.script != "train":
        raise ValueError(
            f"A sweep to export must be of src/train.py; got one of src/{sweep.script}.py: "
            f'"python src/sweep.py {sweep.study_name}" prints the command of its best trial'
        )
    trial = choose_trial(sweep, number)
    run = run_of(trial, project=project)
    overrides = trial_overrides(trial, project=project)
    choice = split_overrides(overrides, configs=configs, start=start_overrides(run, overrides))
    if name in choice.experiments:
        raise ValueError(f"An experiment cannot start from itself; got {name}: choose another name")
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
    """Give a complete trial of the sweep's own by its number, or the best one."""
    if number is None:
        chosen = sweep.best
        if len(chosen) != 1:
            numbers = ", ".join(str(trial.number) for trial in chosen)
            raise ValueError(
                "There must be one best trial to export; got "
                + (f"{numbers} on the Pareto front: choose one with --trial" if chosen else "none complete")
            )
    else:
        chosen = [trial for trial in sweep.get_trials() if trial.number == number]
        if not chosen:
            raise ValueError(f"A trial must be one of the sweep; got {number}: list them without --best")
    (trial,) = chosen
    if trial.state is not TrialState.COMPLETE:
        raise ValueError(
            f"A trial to export must be complete; got trial {number}, which is {state_of(trial)}"
        )
    if source := trial.user_attrs.get(FROM_STUDY):
        raise ValueError(
            f"A trial to export must be of its own sweep; got trial {trial.number}, which is from {source}: "
            "export it from there"
        )
    return trial


def write_experiment(sweep: Sweep, trial: FrozenTrial, name: str, *, choice: Choice, run: Run | None) -> str:
    """Write the text of an experiment config: what it is, how to train it, what to expect, what it sets."""
    n = len(sweep.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    header = [
        "@package _global_",
        f"{'The best' if [best.number for best in sweep.best] == [trial.number] else 'One'} of {n} complete "
        f"{'trial' if n == 1 else 'trials'} of the sweep {format_value(sweep.study_name)}: "
        f"trial {trial.number}.",
        shlex.join(["python", "src/train.py", f"experiment={name}", *choice.command]),
        f"Expected: {_expected(sweep, trial, run)}.",
    ]
    # Each on one line: what a study holds must not end the comment.
    text = "".join(f"# {' '.join(line.splitlines())}\n" for line in header)
    defaults: list[Any] = [*choice.experiments, "_self_"]
    defaults += [{f"override /{group}": value} for group, value in choice.groups.items()]
    if len(defaults) > 1:
        text += OmegaConf.to_yaml(OmegaConf.create({"defaults": defaults})) + "\n" * bool(choice.values)
    values = OmegaConf.create({})
    for key, value in choice.values.items():
        OmegaConf.update(values, key, value)
    return text + (OmegaConf.to_yaml(values) if values else "")


def _expected(sweep: Sweep, trial: FrozenTrial, run: Run | None) -> str:
    """Report what a trial reached and what it took, as far as that was recorded."""
    record = run.record if run else {}
    scores = dict(zip(sweep.objectives, trial.values, strict=True))
    if (best := record.get("best")) and len(scores) == 1:
        scores = {best["monitor"]: best["score"]}
    parts = []
    for metric, value in scores.items():
        words = re.sub("^(val/|train/)", lambda split: _SPLITS[split[0]], metric).replace("/", " ")
        parts.append(f"{words.replace('_', ' ')} {value:.{decimals(abs(value))}f}")
    if training := record.get("training"):
        n_threads = training["n_threads"]
        parts.append(
            f"{training['train_seconds']:.0f} s of training on {training['device']} with "
            f"{n_threads} {'thread' if n_threads == 1 else 'threads'}"
        )
    return ", ".join(parts)


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
                f"An experiment must compose; got {' '.join(str(error).split())}: the configs have changed "
                "since the trial; check out its commit"
            ) from error


def _check_same(composed: DictConfig, run: Run) -> None:
    """Refuse an experiment that is not what the run was trained with."""
    trained, found = training_values(run.config), training_values(composed)
    differing = [
        f"{key} {found.get(key)!r} instead of {trained.get(key)!r}"
        for key in {**trained, **found}
        if found.get(key) != trained.get(key)
    ]
    if differing:
        more = f" and {len(differing) - _N_SHOWN} more" if len(differing) > _N_SHOWN else ""
        raise ValueError(
            f"The experiment must give the config of {run.path}; got {'; '.join(differing[:_N_SHOWN])}{more}"
            ": the configs have changed since; check out the run's commit, or train it again with reproduce="
        )

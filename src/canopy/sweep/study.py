"""The study that keeps what has been done of a sweep: opened, or created with its known points."""

import time
from pathlib import Path

import optuna
from optuna.trial import TrialState

from canopy.sweep.attributes import FOLDER, FROM_STUDY, MONITOR, SCRIPT
from canopy.sweep.plan import Plan, monitor_of
from canopy.sweep.storage import open_storage

# How long the command that makes a study may take to add one known point to it.
SET_UP_SECONDS = 2.0


def open_study(plan: Plan, default: Path) -> tuple[optuna.Study, Path, bool]:
    """Open a sweep's study, or create it with its warm start.

    Args:
        plan: The sweep.
        default: Folder of a new study's runs.

    Returns:
        The study, the folder of its runs, the same each time, and whether the study is new.

    Raises:
        ValueError: If the study has other directions than the sweep, or its runs elsewhere.
    """
    storage = open_storage(storage_url(plan, default))
    try:
        study = optuna.create_study(study_name=plan.study_name, storage=storage, directions=plan.directions)
        is_new = True
    except optuna.exceptions.DuplicatedStudyError:
        is_new = False
        study = optuna.load_study(study_name=plan.study_name, storage=storage)
        _wait_until_set_up(study)
    directions = tuple(direction.name.lower() for direction in study.directions)
    if directions != plan.directions:
        raise ValueError(
            f"The study {plan.study_name} must have the sweep's directions {plan.directions}; got "
            f"{directions}: choose another hydra.sweeper.study_name"
        )
    if FOLDER not in study.user_attrs:
        for name in plan.options.warm_start_studies:
            earlier = optuna.load_study(study_name=name, storage=storage)
            study.add_trials(
                optuna.create_trial(
                    params=trial.params,
                    distributions=trial.distributions,
                    values=trial.values,
                    # Of a bound that an earlier study need not have had.
                    constraints=dict.fromkeys(plan.bounds, 0.0),
                    user_attrs={FROM_STUDY: name},
                )
                for trial in earlier.get_trials(states=(TrialState.COMPLETE,))
            )
        for point in plan.warm_start:
            study.enqueue_trial(point)
        study.set_user_attr(MONITOR, monitor_of(plan.config))
        study.set_user_attr(SCRIPT, plan.config.hydra.job.name)
        study.set_user_attr(FOLDER, str(default))
    return study, folder_of(study, default), is_new


def folder_of(study: optuna.Study, default: Path) -> Path:
    """Give the folder of a study's runs.

    Raises:
        ValueError: If the study, which may be from elsewhere, names one that is not this project's.
    """
    folder = Path(study.user_attrs[FOLDER])
    if not any(folder.resolve().is_relative_to(place.resolve()) for place in (Path(), default.parent)):
        raise ValueError(
            f"The study {study.study_name} must keep its runs in this folder or in {default.parent}; "
            f"found {folder}: if that is meant, set hydra.sweep.dir to it"
        )
    return folder


def storage_url(plan: Plan, folder: Path) -> str:
    """Give the URL of a sweep's storage: by default a file in the folder of its runs."""
    return plan.options.storage or f"sqlite:///{folder / 'study.db'}"


def _wait_until_set_up(study: optuna.Study) -> None:
    """Give the command that made a study the time to add the known points; it may have died meanwhile."""
    n_before, deadline = -1, 0.0
    while FOLDER not in study.user_attrs:
        n_trials = len(study.get_trials(deepcopy=False))
        if n_trials != n_before:
            n_before, deadline = n_trials, time.monotonic() + SET_UP_SECONDS
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)

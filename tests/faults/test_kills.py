"""SIGKILL at random moments, then the same command again: the result is that of a command never killed."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from canopy.runs.reproduce import same_weights
from canopy.training.checkpoint import REFIT, load_checkpoint
from faults.project import ROOT, SMALL, STAGES, USES, Project, environment

pytestmark = pytest.mark.faults

N_STAGE_KILLS = 5
COMMON = (
    *("trainer.max_epochs=60", "data.batch_size=32", "resume=auto"),
    "callbacks.resume_checkpoint.every_n_seconds=0",
    *("publish.run=models/trained", "publish.report=reports/train.json"),
)
TRAIN = (*SMALL, *COMMON, "model.net.dropout=0.2", "callbacks.early_stopping.patience=100")
# Its weights are averaged over steps, the kinds of its nets weighed in each validation; that is what is kept.
PRESET = (
    *("src/train.py", "trainer=cpu", "preset=best", *COMMON),
    *(f"model.net.members.{kind}.n_members=1" for kind in ("piecewise", "piecewise_large")),
    *(f"model.net.members.{kind}.width=16" for kind in ("piecewise", "piecewise_large")),
    *("model.net.members.trees.settings.iterations=20", "callbacks.progress_bar=null"),
    "trainer.enable_progress_bar=false",
)


def kills(
    project: Project, command: tuple[str, ...], *, n: int, after: tuple[float, float], **options: Any
) -> Iterator[None]:
    """Kill a command `n` times, some seconds after its start or `kill_when`; yields after each kill."""
    generator = random.Random(f"kills of {command[0]}")
    n_kills = 0
    for _ in range(100):
        done = project.run(*command, kill_after=generator.uniform(*after), check=False, **options)
        if done.code == 0:
            continue
        assert done.code == -signal.SIGKILL
        n_kills += 1
        yield
        if n_kills == n:
            return
    raise AssertionError("the command must be long enough for all kills")


@pytest.mark.parametrize(
    "stage", [pytest.param(stage, marks=() if stage == "split" else pytest.mark.long) for stage in STAGES]
)
def test_killed_stage_leaves_old_or_new_outputs(stage: str, project: Project) -> None:
    before = project.outputs()
    # A seed of its own, so that the outputs differ from those that are there.
    command = (f"scripts/{stage}.py", "seed=7", "normalize.methods=[{columns: ['*'], method: min_max}]")
    expected_in = project.copy(project.folder.with_name("expected"))
    seconds = expected_in.run(*command).seconds
    expected = expected_in.outputs()
    # The later half is where a stage works and writes.
    for _ in kills(project, command, n=N_STAGE_KILLS, after=(0.4 * seconds, seconds)):
        for name, found in whole(project).items():
            assert found in (before[name], expected[name]), name
    project.run(*command)
    assert project.outputs() == expected
    assert project.left_behind() == []
    assert expected != before or stage in ("explore", "drop_columns", "cap_classes", "make_tensors")


def whole(project: Project) -> dict[str, str]:
    """Give the hashes of a project's outputs without what killed commands left next to them."""
    return {name: found for name, found in project.outputs().items() if ".tmp/" not in name}


@pytest.mark.long
def test_killed_fetch_leaves_no_table(tmp_path: Path, project: Project) -> None:
    raw = project.folder / "data/raw/covtype.csv"
    expected = raw.read_bytes()
    archive = tmp_path / "slow.py"
    archive.write_text(SLOW_SERVER)
    server = subprocess.Popen(
        [sys.executable, str(archive), str(ROOT / "tests/data/covertype.zip")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/covertype.zip"
        source = f"fetch.sources=[{{url: '{url}', member: covtype.data.gz, has_header: false}}]"
        raw.unlink()
        for _ in kills(project, ("scripts/fetch.py", source), n=N_STAGE_KILLS, after=(0.3, 1)):
            assert not raw.exists()
        project.run("scripts/fetch.py", source)
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    assert raw.read_bytes() == expected
    assert project.left_behind() == []


# Sends an archive in two seconds.
SLOW_SERVER = """
import http.server, sys, time
content = open(sys.argv[1], "rb").read()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        for start in range(0, len(content), len(content) // 20 + 1):
            self.wfile.write(content[start : start + len(content) // 20 + 1])
            time.sleep(0.1)
    def log_message(self, *arguments):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.mark.slow
def test_killed_refit_resumes_to_the_same_weights(prepared: Project, tmp_path: Path) -> None:
    """The validation scores are kept, and the weights are those of a run that was not killed."""
    reference, project = (prepared.copy(tmp_path / name) for name in ("reference", "killed"))
    command = (*TRAIN, "refit=true", "trainer.max_epochs=12")
    reference.run(*command)
    states = "logs/train/runs/*/checkpoints/refit.ckpt"
    killed = project.run(
        *command, kill_after=0, kill_when=lambda: any(project.folder.glob(states)), check=False
    )
    assert killed.code == -signal.SIGKILL
    assert not (project.folder / "models/trained").exists()
    project.run(*command)
    found, expected = (of.folder / "models/trained/checkpoints/best.ckpt" for of in (project, reference))
    assert REFIT in load_checkpoint(found)
    assert same_weights(found, expected)
    assert not any(project.folder.glob(states))
    assert project.left_behind() == []


@pytest.mark.long
@pytest.mark.parametrize("command", [TRAIN, PRESET], ids=["mlp", "preset"])
def test_killed_training_resumes_to_the_same_weights(
    command: tuple[str, ...], prepared: Project, tmp_path: Path
) -> None:
    """The pipeline's own command resumes its run each time and ends with the same weights."""
    reference, project = (prepared.copy(tmp_path / name) for name in ("reference", "killed"))
    reference.run(*command)
    seen: list[set[int]] = [set()]
    options = {"after": (0, 0.3), "kill_when": lambda: saved(project) != seen[-1]}
    for _ in kills(project, command, n=5, **options):
        seen.append(saved(project))
        assert not (project.folder / "models/trained").exists()
    project.run(*command)
    runs = [*project.folder.glob("logs/train/runs/*/run.json")]
    finished = [path for path in runs if json.loads(path.read_text())["status"] == "finished"]
    assert len(finished) == 1
    assert len(json.loads(finished[0].read_text())["commands"]) == len(seen)
    assert same_weights(*(of.folder / "models/trained/checkpoints/best.ckpt" for of in (project, reference)))
    assert not list(finished[0].parent.rglob("*.tmp"))
    assert project.left_behind() == []


@pytest.mark.slow
@pytest.mark.parametrize("n_kills", [1, pytest.param(5, marks=pytest.mark.long)])
def test_killed_training_of_two_processes_resumes_to_the_same_weights(
    n_kills: int, prepared: Project, tmp_path: Path
) -> None:
    """The same command, then a resume, as typed: each starts its second process itself."""
    reference, project = (prepared.copy(tmp_path / name) for name in ("reference", "killed"))
    command = [*TRAIN, "trainer=ddp_sim", "trainer.max_epochs=12", "name=two"]
    end(reference.start(*command))
    generator = random.Random("kills of two processes")
    for number in range(n_kills):
        before = saved(project)
        process = project.start(*command)
        while saved(project) == before:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 0.5))
        both = [process.pid, *(child.pid for child in psutil.Process(process.pid).children())]
        assert len(both) == 2, "the run must be long enough for all kills"
        os.kill(both[number % 2], signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode != 0
        psutil.wait_procs([psutil.Process(pid) for pid in both if psutil.pid_exists(pid)], timeout=60)
    process = project.start(*command)
    before = saved(project)
    while saved(project) == before:
        time.sleep(0.01)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, errors
    (run,) = project.folder.glob("logs/train/runs/*")
    end(project.start("src/train.py", f"resume={run}"))
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "finished"
    assert len(record["commands"]) == n_kills + 2
    (expected,) = reference.folder.glob("logs/train/runs/*")
    for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert same_weights(run / name, expected / name)
    # On one device the rows of a step are the same, the rounding is not.
    process = project.start("src/train.py", f"resume={run}", "trainer=cpu", "trainer.max_epochs=13")
    assert "data.batch_size=64 on each of 1 devices keeps 64 rows" in end(process)
    assert json.loads((run / "run.json").read_text())["training"]["batch_size"] == 64


def saved(project: Project) -> set[int]:
    """Tell the checkpoints of a project's runs to resume from by the time that they were saved."""
    found = project.folder.glob("logs/train/runs/*/checkpoints/last.ckpt")
    return {path.stat().st_mtime_ns for path in found}


def end(process: subprocess.Popen[str]) -> str:
    """Wait until a command has ended well; give what it wrote to stdout."""
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output


@pytest.mark.long
def test_killed_export_leaves_old_or_new_bundle(trained_project: Project) -> None:
    """A bundle is the old one or the new one, whole, and the same command makes the new one."""
    project = trained_project
    bundle = project.folder / "models/canopy"
    old = json.loads((bundle / "model.json").read_text())["files"]
    for name in ("evaluate", "export", "compress"):
        command = USES[name]
        project.run(*command)
        before = whole(project)
        seconds = project.run(*command).seconds
        after = whole(project)
        for _ in kills(project, command, n=4, after=(0.3 * seconds, seconds)):
            for made in project.folder.glob("models/*/model.json"):
                source = f"bundle={made.parent}"
                project.run("src/predict.py", source, "input=data/raw/covtype.csv", "output=p.csv")
        project.run(*command)
        # The graphs' files name no time and no process.
        same = [key for key in before if before[key] == after[key]]
        found = whole(project)
        assert len(same) > 10
        assert {key: found[key] for key in same} == {key: before[key] for key in same}
        assert found.keys() == before.keys()
        assert project.left_behind() == []
    assert json.loads((bundle / "model.json").read_text())["files"]["model.onnx"] == old["model.onnx"]


@pytest.mark.long
def test_killed_sweep_runs_each_trial_once(prepared: Project, tmp_path: Path) -> None:
    """Each point of a grid is trained to its end once, with the value of a sweep never killed."""
    options = [
        *(*SMALL, "-m", "trainer.max_epochs=4", "data.batch_size=64"),
        *("hydra/sweeper=optuna", "hydra/sweeper/sampler=grid"),
        *("model.optimizer.lr=choice(0.001,0.003,0.01)", "model.net.dropout=choice(0.0,0.1)"),
        *("hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=1", "hydra.sweeper.max_retries=10"),
        "hydra.sweeper.direction=maximize",
        *("hydra.sweeper.study_name=killed", "hydra.sweeper.storage=sqlite:///logs/sweeps.db"),
    ]
    reference, project = (prepared.copy(tmp_path / name) for name in ("reference", "killed"))
    seconds = reference.run(*options).seconds
    generator = random.Random("kills of sweeps")
    n_kills = 0
    for _ in range(10):
        if n_kills == 5:
            break
        done = project.run(*options, kill_after=generator.uniform(0.1, 0.4) * seconds, check=False)
        if done.code == 0:
            break
        n_kills += 1
    assert n_kills >= 3
    project.run(*options)
    found, expected = (points(of.folder / "logs/sweeps.db") for of in (project, reference))
    assert len(expected) == 6
    assert found == expected
    with closing(sqlite3.connect(project.folder / "logs/sweeps.db")) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)


def points(path: Path) -> list[tuple[Any, ...]]:
    """Give parameters and value of each trial that came to its end."""
    study = optuna.load_study(study_name="killed", storage=f"sqlite:///{path}")
    done = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    return sorted((*sorted(trial.params.items()), trial.value) for trial in done)


@pytest.mark.long
def test_killed_dvc_repro_ends_with_the_same_lock(dvc_project: Path) -> None:
    """`dvc repro` again: the lock file says the same, and every output is there as it says."""
    folder = dvc_project
    dvc(folder, "repro", "make_tensors")
    expected = (folder / "dvc.lock").read_bytes()
    forget(folder)
    generator = random.Random("kills of dvc")
    n_kills = 0
    started = time.perf_counter()
    dvc(folder, "repro", "make_tensors")
    seconds = time.perf_counter() - started
    forget(folder)
    for _ in range(4):
        process = subprocess.Popen(
            ["dvc", "repro", "make_tensors"],
            cwd=folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(generator.uniform(0.2, 0.7) * seconds)
        if process.poll() is not None:
            # Done sooner than measured.
            forget(folder)
            continue
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        n_kills += 1
    assert n_kills >= 2
    dvc(folder, "repro", "make_tensors")
    assert (folder / "dvc.lock").read_bytes() == expected
    assert "up to date" in dvc(folder, "status", "make_tensors")
    assert [*(folder / "data").rglob("*.tmp")] == []


def dvc(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["dvc", *words], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def forget(folder: Path) -> None:
    """Take away what the stages made, and what DVC knows of it."""
    for name in ("data/interim", "data/processed", ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "dvc.lock").unlink()

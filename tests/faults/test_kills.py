"""SIGKILL at random moments, then the same command again: the result is that of a command never killed."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from canopy.runs.reproduce import same_weights
from canopy.training.checkpoint import REFIT, load_checkpoint
from faults.project import ROOT, SMALL, STAGES, SWEEP, USES, Project, end

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


@pytest.fixture
def reference(prepared: Project, tmp_path: Path) -> Project:
    """The project whose commands are not killed."""
    return prepared.copy(tmp_path / "reference")


def whole(project: Project) -> dict[str, str]:
    """Give the hashes of a project's outputs without what killed commands left next to them."""
    return {name: found for name, found in project.outputs().items() if ".tmp/" not in name}


@pytest.mark.parametrize(
    "stage", [pytest.param(stage, marks=() if stage == "split" else pytest.mark.long) for stage in STAGES]
)
def test_killed_stage_leaves_old_or_new_outputs(stage: str, project: Project, reference: Project) -> None:
    before = project.outputs()
    # A seed of its own, so that the outputs differ from those that are there.
    command = (f"scripts/{stage}.py", "seed=7", "normalize.methods=[{columns: ['*'], method: min_max}]")
    seconds = reference.run(*command).seconds
    expected = reference.outputs()
    # The later half is where a stage works and writes.
    for _ in project.kills(command, n=N_STAGE_KILLS, after=(0.4 * seconds, seconds)):
        for name, found in whole(project).items():
            assert found in (before[name], expected[name]), name
    project.run(*command)
    assert project.outputs() == expected
    assert project.left_behind() == []
    assert expected != before or stage not in ("split", "normalize")


class SlowHandler(SimpleHTTPRequestHandler):
    """Sends the archive in two seconds."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        for start in range(0, len(content), len(content) // 20 + 1):
            outputfile.write(content[start : start + len(content) // 20 + 1])
            time.sleep(0.1)


@pytest.mark.long
def test_killed_fetch_leaves_no_table(project: Project) -> None:
    raw = project.folder / "data/raw/covtype.csv"
    expected = raw.read_bytes()
    raw.unlink()
    handler = partial(SlowHandler, directory=ROOT / "tests/data")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}/covertype.zip"
        source = f"fetch.sources=[{{url: '{url}', member: covtype.data.gz, has_header: false}}]"
        try:
            for _ in project.kills(("scripts/fetch.py", source), n=N_STAGE_KILLS, after=(0.3, 1)):
                assert not raw.exists()
            project.run("scripts/fetch.py", source)
        finally:
            server.shutdown()
    assert raw.read_bytes() == expected
    assert project.left_behind() == []


REFITTED = (*TRAIN, "refit=true", "trainer.max_epochs=12")


@pytest.mark.parametrize(
    ("command", "state", "n", "longest"),
    [
        pytest.param(TRAIN, "last.ckpt", 5, 0.3, id="mlp", marks=pytest.mark.long),
        pytest.param(PRESET, "last.ckpt", 5, 0.3, id="preset", marks=pytest.mark.long),
        pytest.param(REFITTED, "refit.ckpt", 1, 0, id="refit", marks=pytest.mark.slow),
    ],
)
def test_killed_training_resumes_to_the_same_weights(
    command: tuple[str, ...], state: str, n: int, longest: float, project: Project, reference: Project
) -> None:
    """The pipeline's own command resumes its run each time and ends with the same weights."""
    reference.run(*command)
    seen: list[set[int]] = [set()]
    for _ in project.kills(
        command, n=n, after=(0, longest), kill_when=lambda: saved(project, state) != seen[-1]
    ):
        seen.append(saved(project, state))
        assert not (project.folder / "models/trained").exists()
    project.run(*command)
    records = [json.loads((run / "run.json").read_text()) for run in project.runs()]
    (finished,) = [record for record in records if record["status"] == "finished"]
    assert len(finished["commands"]) == len(seen)
    found, expected = (of.folder / "models/trained/checkpoints/best.ckpt" for of in (project, reference))
    assert same_weights(found, expected)
    assert (REFIT in load_checkpoint(found)) == (command == REFITTED)
    assert not saved(project, "refit.ckpt")
    assert not [*project.folder.glob("logs/**/*.tmp")]
    assert project.left_behind() == []


@pytest.mark.slow
@pytest.mark.parametrize("n_kills", [1, pytest.param(5, marks=pytest.mark.long)])
def test_killed_training_of_two_processes_resumes_to_the_same_weights(
    n_kills: int, project: Project, reference: Project
) -> None:
    """The same command, then a resume, as typed: each starts its second process itself."""
    command = [*TRAIN, "trainer=ddp_sim", "trainer.max_epochs=12", "name=two"]
    end(reference.start(*command))
    generator = random.Random("kills of two processes")

    def start() -> subprocess.Popen[str]:
        """Start the command and wait until it has saved a checkpoint."""
        before = saved(project)
        process = project.start(*command)
        while saved(project) == before:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        return process

    for number in range(n_kills):
        process = start()
        time.sleep(generator.uniform(0, 0.5))
        both = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
        assert len(both) == 2, "the run must be long enough for all kills"
        both[number % 2].kill()
        process.communicate(timeout=60)
        assert process.returncode != 0
        psutil.wait_procs(both[1:], timeout=60)
    process = start()
    process.terminate()
    end(process, code=128 + signal.SIGTERM)
    (run,) = project.runs()
    end(project.start("src/train.py", f"resume={run}"))
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "finished"
    assert len(record["commands"]) == n_kills + 2
    for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert same_weights(run / name, reference.runs()[0] / name)
    # On one device the rows of a step are the same, the rounding is not.
    process = project.start("src/train.py", f"resume={run}", "trainer=cpu", "trainer.max_epochs=13")
    assert "data.batch_size=64 on each of 1 devices keeps 64 rows" in end(process)
    assert json.loads((run / "run.json").read_text())["training"]["batch_size"] == 64


def saved(project: Project, name: str = "last.ckpt") -> set[int]:
    """Give the times at which the checkpoints to resume a project's runs from were saved."""
    found = project.folder.glob(f"logs/train/runs/*/checkpoints/{name}")
    return {path.stat().st_mtime_ns for path in found}


@pytest.mark.long
@pytest.mark.parametrize("name", ["evaluate", "export", "compress"])
def test_killed_use_of_a_run_leaves_old_or_new_bundle(name: str, trained_project: Project) -> None:
    """A bundle is the old one or the new one, whole, and the same command makes the new one."""
    project, command = trained_project, USES[name]
    project.run(*command)
    before = whole(project)
    seconds = project.run(*command).seconds
    after = whole(project)
    for _ in project.kills(command, n=4, after=(0.3 * seconds, seconds)):
        for made in project.folder.glob("models/*/model.json"):
            source = f"bundle={made.parent}"
            project.run("src/predict.py", source, "input=data/raw/covtype.csv", "output=p.csv")
    project.run(*command)
    found = whole(project)
    assert found.keys() == before.keys()
    # The graphs' files name no time and no process.
    same = {key for key in before if before[key] == after[key]}
    assert len(same) > 10
    assert "models/canopy/model.onnx" in same
    assert {key: found[key] for key in same} == {key: before[key] for key in same}
    assert project.left_behind() == []


@pytest.mark.long
def test_killed_sweep_runs_each_trial_once(project: Project, reference: Project) -> None:
    """Each point of a grid is trained to its end once, with the value of a sweep never killed."""
    options = [
        *(*SWEEP, "trainer.max_epochs=4", "data.batch_size=64", "hydra/sweeper/sampler=grid"),
        *("model.optimizer.lr=choice(0.001,0.003,0.01)", "model.net.dropout=choice(0.0,0.1)"),
        *("hydra.sweeper.n_trials=6", "hydra.sweeper.max_retries=10"),
    ]
    seconds = reference.run(*options).seconds
    generator = random.Random("kills of sweeps")
    n_kills = 0
    for _ in range(5):
        after = generator.uniform(0.1, 0.4) * seconds
        if project.run(*options, kill_after=after, check=False).code == 0:
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
    study = optuna.load_study(study_name="a", storage=f"sqlite:///{path}")
    done = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    return sorted((*sorted(trial.params.items()), trial.value) for trial in done)


@pytest.mark.long
def test_killed_dvc_repro_ends_with_the_same_lock(dvc_project: Project) -> None:
    """`dvc repro` again: the lock file says the same, and every output is there as it says."""
    command, folder = ("dvc", "repro", "make_tensors"), dvc_project.folder

    def forget() -> None:
        """Take away what the stages made, and what DVC knows of it."""
        for name in ("data/interim", "data/processed", ".dvc/cache", ".dvc/tmp"):
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / "dvc.lock").unlink()

    started = time.perf_counter()
    end(dvc_project.start(*command))
    seconds = time.perf_counter() - started
    expected = (folder / "dvc.lock").read_bytes()
    forget()
    generator = random.Random("kills of dvc")
    n_kills = 0
    for _ in range(4):
        process = dvc_project.start(*command, start_new_session=True)
        time.sleep(generator.uniform(0.2, 0.7) * seconds)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            n_kills += 1
        else:
            # Done sooner than measured.
            forget()
        process.communicate()
    assert n_kills >= 2
    end(dvc_project.start(*command))
    assert (folder / "dvc.lock").read_bytes() == expected
    assert "up to date" in end(dvc_project.start("dvc", "status", "make_tensors"))
    assert [*(folder / "data").rglob("*.tmp")] == []

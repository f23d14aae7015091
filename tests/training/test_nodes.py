"""Two machines that train one run: processes of one folder or of one each, by torchrun or as by srun."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from canopy.processes import launched_rank
from canopy.runs.distributed import lost_process_as_error
from canopy.runs.processes import is_alive, may_still_run, this_process
from canopy.runs.reproduce import same_weights
from canopy.runs.resume import requeue
from canopy.training.checkpoint import load_weights
from packages import ROOT, environment, free_port

NET = (
    *("model.net.hidden=[16]", "model.net.dropout=0.2", "callbacks.progress_bar=null"),
    *("trainer.enable_progress_bar=false", "callbacks.early_stopping=null", "data.eval_batch_size=7"),
)
TWO_NODES = ("trainer=ddp_sim", "trainer.num_nodes=2", "trainer.devices=1", "data.batch_size=10")
LONG = ("trainer.max_epochs=20", "callbacks.resume_checkpoint.every_n_seconds=0", "resume=auto", "name=long")
SLURM = {
    "SLURM_JOB_ID": "4242",
    "SLURM_JOB_NAME": "canopy",
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "1",
}
SLURM |= {"SLURM_STEP_ID": "0", "SLURM_NNODES": "2", "SLURM_LOCALID": "0", "SLURM_NODELIST": "127.0.0.[1-2]"}


@pytest.fixture
def node(tensors: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Make the folder of a node, with its own copy of the data."""

    def make(name: str) -> Path:
        shutil.copytree(tensors, tmp_path / name / "data/processed")
        shutil.copy(ROOT / "params.yaml", tmp_path / name)
        return tmp_path / name

    return make


def start(command: tuple[str, ...], folder: Path, **variables: str) -> subprocess.Popen[str]:
    env = {**environment(ROOT), "OMP_NUM_THREADS": "1", **variables}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder, env=env, **pipes)


def torchrun(folders: list[Path], *arguments: str) -> list[subprocess.Popen[str]]:
    address = ("--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={free_port()}")
    command = (str(ROOT / "src/train.py"), *NET, *TWO_NODES, *arguments)
    return [
        start(("torchrun", *address, f"--node-rank={rank}", *command), folder)
        for rank, folder in enumerate(folders)
    ]


def srun(folder: Path, *arguments: str, **variables: str) -> list[subprocess.Popen[str]]:
    command = ("python", str(ROOT / "src/train.py"), *NET, *TWO_NODES, *arguments)
    variables |= {**SLURM, "MASTER_PORT": str(free_port())}
    return [start(command, folder, SLURM_PROCID=rank, SLURM_NODEID=rank, **variables) for rank in "01"]


def end(nodes: list[subprocess.Popen[str]], *codes: int) -> list[str]:
    outputs = [process.communicate(timeout=300)[0] for process in nodes]
    assert [process.returncode for process in nodes] == [*(codes or [0] * len(nodes))], "\n".join(outputs)
    return outputs


def wait_for_checkpoint(folder: Path, nodes: list[subprocess.Popen[str]]) -> None:
    """Wait until a run has saved its first checkpoint and trained a few batches more."""
    while not [*folder.glob("logs/train/runs/*/checkpoints/last.ckpt")]:
        assert [process.poll() for process in nodes] == [None, None], end(nodes)
        time.sleep(0.01)
    time.sleep(0.3)


def make_scontrol(folder: Path) -> Path:
    """Make a program that notes what it is asked; give the file that it notes it in."""
    (folder / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\n')
    (folder / "scontrol").chmod(0o755)
    return folder / "asked"


def run_of(folder: Path) -> Path:
    (found,) = folder.glob("logs/train/runs/*")
    return found


@pytest.mark.slow
def test_two_nodes_train_as_one_process(node: Callable[[str], Path]) -> None:
    """Of the same rows in each step come the same weights: no row is left out, none comes twice."""
    folders, single = [node("a"), node("b")], node("single")
    common = ("trainer.max_epochs=1", "model.net.dropout=0", "model/optimizer=adamw")
    first, further = end(torchrun(folders, *common))
    assert first.count("Epoch 1 of 1") == 1
    assert "Epoch" not in further, "one process logs"
    train = ("python", str(ROOT / "src/train.py"), *NET, "trainer=cpu", "data.batch_size=20")
    end([start((*train, *common), single)])
    two, one = (load_weights(run_of(folder) / "checkpoints/best.ckpt") for folder in (folders[0], single))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=0, atol=1e-5)
    assert [path.name for path in run_of(folders[1]).iterdir()] == ["train_ddp_process_1.log"]
    assert run_of(folders[1]).name == run_of(folders[0]).name
    evaluate = (str(ROOT / "src/evaluate.py"), f"run={run_of(folders[0])}", "split=val", "trainer=cpu")
    end([start(("python", *evaluate, "output=scores"), folders[0])])
    scores = json.loads((folders[0] / "scores/metrics.json").read_text())["val"]
    metrics = json.loads((run_of(folders[0]) / "run.json").read_text())["best"]["metrics"]
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "nll", "ece"):
        assert metrics[f"val/{name}"] == pytest.approx(scores[name], abs=1e-6), name


@pytest.mark.slow
@pytest.mark.parametrize(("shared", "victim"), [(True, 1), (False, 0), (False, 1)])
def test_killed_node_ends_the_other_and_resumes(
    shared: bool, victim: int, node: Callable[[str], Path]
) -> None:
    reference = [node("reference")] * 2
    folders = [node("a")] * 2 if shared else [node("a"), node("b")]
    expected = torchrun(reference, *LONG)
    nodes = torchrun(folders, *LONG)
    wait_for_checkpoint(folders[0], nodes)
    killed = psutil.Process(nodes[victim].pid)
    for process in [killed, *killed.children(recursive=True)]:
        process.kill()
    codes = [1, 1]
    codes[victim] = -signal.SIGKILL
    survivor = end(nodes, *codes)[1 - victim]
    assert "Error: All processes of a run must reach its end; lost the connection to another" in survivor
    end(torchrun(folders, *LONG))
    end(expected)
    record = json.loads((run_of(folders[0]) / "run.json").read_text())
    assert (record["status"], len(record["commands"])) == ("finished", 2)
    for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert same_weights(run_of(folders[0]) / name, run_of(reference[0]) / name)


@pytest.mark.slow
def test_slurm_job_is_requeued_and_resumes(node: Callable[[str], Path], tmp_path: Path) -> None:
    """There is no Slurm: its variables are set, and `scontrol` notes what it is asked."""
    folder, reference, asked = node("a"), node("reference"), make_scontrol(tmp_path)
    path = f"{tmp_path}:{environment(ROOT)['PATH']}"
    expected = torchrun([reference] * 2, *LONG)
    tasks = srun(folder, *LONG, PATH=path)
    wait_for_checkpoint(folder, tasks)
    for task in tasks:
        task.send_signal(signal.SIGUSR1)
    end(tasks, 128 + signal.SIGUSR1, 0)
    assert asked.read_text() == "requeue 4242\n"
    record_file = run_of(folder) / "run.json"
    stopped = json.loads(record_file.read_text())
    assert stopped["status"] == "stopped"
    # As after a start on another machine that lost its power.
    other = {**stopped, "status": "running", "process": {**stopped["process"], "host": "other"}}
    record_file.write_text(json.dumps(other))
    end(srun(folder, *LONG, PATH=path, SLURM_RESTART_COUNT="1"))
    end(expected)
    assert not [*run_of(folder).rglob("hpc_ckpt*")], "Lightning must not save in the middle of a step"
    for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert same_weights(run_of(folder) / name, run_of(reference) / name)


@pytest.mark.slow
def test_node_with_other_data_is_refused(node: Callable[[str], Path]) -> None:
    folders = [node("a"), node("b")]
    schema = folders[1] / "data/processed/schema.json"
    content = json.loads(schema.read_text())
    content["sha256"]["val/00000.pt"] = "0" * 64
    schema.write_text(json.dumps(content))
    first, further = end(torchrun(folders, "trainer.max_epochs=1"), 1, 1)
    assert (
        "must have the same code and data as the first; found another data/processed/val/00000.pt" in further
    )
    assert "lost the connection to another one" in first


@pytest.mark.parametrize(
    ("variables", "rank"),
    [
        ({}, None),
        ({"TORCHELASTIC_RUN_ID": "none", "RANK": "3"}, 3),
        ({**SLURM, "SLURM_PROCID": "1"}, 1),
        ({**SLURM, "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, None),
        ({**SLURM, "SLURM_PROCID": "0", "SLURM_JOB_NAME": "interactive"}, None),
    ],
)
def test_launched_rank(variables: dict[str, str], rank: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SLURM_", "TORCHELASTIC_", "RANK"))]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launched_rank() == rank


@pytest.mark.parametrize("command", [("src/cross_validate.py",), ("src/train.py", "-m", "seed=1,2")])
def test_command_of_one_process_refuses_torchrun(command: tuple[str, ...]) -> None:
    (output,) = end([start(("python", *command), ROOT, TORCHELASTIC_RUN_ID="none", RANK="0")], 1)
    assert output == f"Error: {command[0]} must be started once; got torchrun or srun: leave it out\n"


@pytest.mark.parametrize(
    ("job", "restarts", "alive"), [("7", "0", True), ("7", "1", False), ("8", "1", True), (None, "", True)]
)
def test_earlier_start_of_a_requeued_job_is_over(
    job: str | None,
    restarts: str,
    alive: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    process = {**this_process(), "host": "other"}
    monkeypatch.delenv("SLURM_JOB_ID")
    if job is not None:
        monkeypatch.setenv("SLURM_JOB_ID", job)
        monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    assert is_alive(process) == may_still_run({"status": "running", "process": process}) == alive
    assert not may_still_run({"status": "stopped", "process": process})


@pytest.mark.parametrize(
    "message", ["[gloo/pair.cc:5] Closed by peer. GLHF!", "Application timeout caused pair closure"]
)
def test_lost_connection_is_reported(message: str) -> None:
    with (
        pytest.raises(
            ConnectionError, match=r"lost the connection .* \((Closed by peer|Application.*)\): see"
        ),
        lost_process_as_error(),
    ):
        raise RuntimeError(message)
    with pytest.raises(RuntimeError, match="another"), lost_process_as_error():
        raise RuntimeError("another")


def test_requeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    asked = make_scontrol(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    monkeypatch.setattr("sys.argv", ["train.py"])
    requeue("7")
    assert "add resume=auto" in caplog.text
    assert not asked.exists()
    monkeypatch.setattr("sys.argv", ["train.py", "resume=auto"])
    requeue("7")
    assert asked.read_text() == "requeue 5_2\n"
    (tmp_path / "scontrol").unlink()
    requeue("7")
    assert "could not requeue Slurm's job 5_2: submit it again" in caplog.text

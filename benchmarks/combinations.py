"""Try every command with every task and every split, as users type them, and write what works into docs/.

python benchmarks/combinations.py                    writes docs/tasks.md; 44 minutes of commands, two at once
python benchmarks/combinations.py binary/group       some of them; writes nothing
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import requests
import yaml
from playwright.sync_api import Error as BrowserError
from playwright.sync_api import sync_playwright

from canopy.compare.summary import insert_table

ROOT = Path(__file__).parents[1]
DOCUMENT, TABLE, COMMAND = ROOT / "docs/tasks.md", "combinations", "python benchmarks/combinations.py"
TASKS = {"binary": "val/auc", "multiclass": "val/nll", "regression": "val/rmse"}
SPLITS: dict[str, dict[str, Any]] = {
    "stratified": {"method": "stratified"},
    "ordered": {"method": "ordered", "test_size": 60, "val_size": 60},
    "group": {"method": "group", "column": "shop"},
    "leave_group_out": {"method": "leave_group_out", "column": "region", "values": {"test": ["north"]}},
    "time": {"method": "time", "column": "day", "gap": "3d"},
    "predefined": {"method": "predefined", "column": "given"},
    "hash": {"method": "hash", "column": "id"},
}
# Of a cross-validation: values of a column are folds of two methods.
FOLDS = {"leave_group_out": 3, "predefined": 3}
SECONDS = 300


def make_table(task: str, path: Path, *, n_rows: int = 360) -> None:
    """Write a table with a group, a region, a date, a given split and a key."""
    random = np.random.default_rng(0)
    x, colour = random.normal(size=(n_rows, 2)).round(3), random.choice(["red", "green", "blue"], n_rows)
    score = x[:, 0] + (colour == "red") + random.normal(0, 0.5, n_rows)
    cuts = {"binary": [0.3], "multiclass": [0.0, 0.7]}.get(task)
    target = (
        score.round(3) + 10 if cuts is None else np.array(["low", "mid", "high"])[np.digitize(score, cuts)]
    )
    frame = pd.DataFrame(
        {"id": [f"row{i}" for i in range(n_rows)], "x": x[:, 0], "z": x[:, 1], "colour": colour}
    )
    frame["shop"] = random.choice([f"s{i}" for i in range(25)], n_rows)
    frame["region"] = random.choice(["north", "south", "west"], n_rows)
    frame["day"] = pd.date_range("2024-01-01", periods=n_rows, freq="D").astype(str)
    frame["given"] = random.choice(["train", "val", "test"], n_rows, p=[0.6, 0.2, 0.2])
    frame.assign(y=target).to_csv(path, index=False)


class Folder:
    """A data set of a copy of the project, in which commands are run."""

    def __init__(self, path: Path) -> None:
        self.path, self.src = path, path.parents[1] / "src"
        folder = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.env = {**os.environ, "PYTHONPATH": str(self.src), "PATH": folder, "OMP_NUM_THREADS": "1"}

    def start(self, script: str, *words: str, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, str(self.src / script), *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=self.path, env=self.env, **{**pipes, **options})

    def run(self, script: str, *words: str) -> str:
        """Run a command and give what it prints; its last line is the error, if it fails."""
        process = self.start(script, *words)
        shown, _ = process.communicate(timeout=SECONDS)
        if process.returncode:
            lines = [line for line in shown.splitlines() if line.startswith("Error: ")] or shown.splitlines()
            raise RuntimeError(lines[-1].removeprefix("Error: "))
        return shown

    def newest(self, pattern: str) -> Path:
        return max(self.path.glob(pattern), key=lambda path: path.stat().st_mtime)


def train_killed(folder: Folder) -> None:
    """Kill a training after its first checkpoint, and resume it."""
    words = ("trainer.max_epochs=40", "name=killed", "callbacks.resume_checkpoint.every_n_seconds=0")
    process = folder.start("train.py", *words, "callbacks.early_stopping=null", stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + SECONDS
    while not [*folder.path.glob("logs/train/runs/*_killed/checkpoints/last.ckpt")]:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the training ended before it could be killed")
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run = folder.newest("logs/train/runs/*_killed")
    if json.loads((run / "run.json").read_text())["status"] != "running":
        raise RuntimeError("the training ended before it could be killed")
    folder.run("train.py", f"resume={run}")
    record = json.loads((run / "run.json").read_text())
    if record["status"] != "finished" or record["training"]["epochs"] != 40:
        raise RuntimeError("the resumed run did not finish")


def serve(folder: Folder, *, with_page: bool) -> None:
    """Ask a server for the rows of the table, or look at its page in a browser."""
    process = folder.start("serve.py", "bundle=models/canopy", "port=0")
    try:
        assert process.stdout is not None
        url = next(word for line in process.stdout for word in line.split() if word.startswith("http://"))
        if with_page:
            with sync_playwright() as playwright:
                path = shutil.which("chromium") or shutil.which("chromium-browser")
                page = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"]).new_page()
                page.goto(url)
                page.wait_for_selector("#verdict:not(:empty)", timeout=60_000)
        else:
            body = (folder.path / "raw.csv").read_bytes()
            requests.post(f"{url.rstrip('/')}/predict/csv", data=body, timeout=60).raise_for_status()
    finally:
        process.terminate()
        process.communicate(timeout=60)


def commands(folder: Folder, split: str) -> dict[str, Callable[[], Any]]:
    """Give what is tried, in this order, by the name of its column."""
    n_folds = FOLDS.get(split, 2)
    folds = (f"split.n_folds={n_folds}", "split.values=null", "split.val_size=0.2", "trainer.max_epochs=1")
    sweep = ("-m", "sweep=mlp", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1", "trainer.max_epochs=1")

    def compare() -> None:
        runs = []
        for seed in (1, 2):
            folder.run("train.py", f"name=seed{seed}", f"seed={seed}", "trainer.max_epochs=1")
            runs.append(str(folder.newest(f"logs/train/runs/*_seed{seed}")))
            folder.run("evaluate.py", f"run={runs[-1]}")
        folder.run("compare.py", *runs)

    published = ("publish.run=models/trained", "publish.report=reports/train.json")
    explained = ("output=reports", "explain=true", "explanation.min_slice_rows=10")
    return {
        "train": lambda: folder.run("train.py", *published),
        "resume after SIGKILL": lambda: train_killed(folder),
        "sweep": lambda: folder.run("train.py", *sweep),
        "cross-validate": lambda: folder.run("cross_validate.py", *folds),
        "evaluate": lambda: folder.run("evaluate.py", "run=models/trained", *explained),
        "compare": compare,
        "export": lambda: folder.run("export.py", "run=models/trained", "metrics=reports/metrics.json"),
        "compress": lambda: folder.run("compress.py", "run=models/trained", "distil.epochs=1"),
        "predict": lambda: folder.run(
            "predict.py", "bundle=models/canopy", "input=raw.csv", "output=predicted.csv"
        ),
        "serve": lambda: serve(folder, with_page=False),
        "web UI": lambda: serve(folder, with_page=True),
    }


def prepare(project: Path, task: str, split: str) -> Folder:
    """Draft a data set, and make its tensors by the stages."""
    name = f"{task}_{split}"
    raw = project / f"{name}.csv"
    make_table(task, raw)
    root = Folder(project / "datasets" / name)
    done = subprocess.run(
        [sys.executable, "src/init_dataset.py", str(raw), "--target", "y"],
        cwd=project, env=root.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    shutil.copy(raw, root.path / "raw.csv")
    place = root.path / "params.yaml"
    params = yaml.safe_load(place.read_text())
    params["split"] = {**params["split"], **SPLITS[split]}
    for column in ("shop", "region", "given"):
        params["table"]["columns"][column] = {"kind": "ignored"}
    words = ("model.net.hidden=[16]", "trainer.max_epochs=2", f"objective.monitor={TASKS[task]}")
    params["train"] = {"experiment": "mlp", "overrides": " ".join(f"'{word}'" for word in words)}
    place.write_text(yaml.safe_dump(params, sort_keys=False))
    for stage in ("fetch", "drop_columns", "split", "normalize", "cap_classes", "make_tensors"):
        root.run(f"../scripts/{stage}.py")
    return root


def try_commands(project: Path, task: str, split: str) -> dict[str, str]:
    """Give for each command whether it works, or what refuses it."""
    folder = prepare(project, task, split)
    found = {}
    for name, command in commands(folder, split).items():
        started = time.monotonic()
        try:
            command()
            found[name] = "yes"
        except (RuntimeError, subprocess.TimeoutExpired, requests.RequestException, BrowserError) as error:
            found[name] = " ".join(str(error).split())
        sys.stderr.write(f"{task} {split} {name}: {found[name]} ({time.monotonic() - started:.0f} s)\n")
    shutil.rmtree(folder.path)
    return found


def copy_project(place: Path) -> Path:
    """Copy what the commands need."""
    for name in ("configs", "scripts", "src", "params.yaml", "dvc.yaml", "pyproject.toml"):
        source = ROOT / name
        place.mkdir(exist_ok=True)
        shutil.copytree(source, place / name) if source.is_dir() else shutil.copy(source, place / name)
    (place / "datasets").mkdir()
    return place


def write_table(found: dict[str, dict[str, str]]) -> str:
    """Write what was found as a table of Markdown."""
    names = [*next(iter(found.values()))]
    lines = [f"| task, split | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
    lines += [f"| {key.replace('/', ', ')} | {' | '.join(row.values())} |" for key, row in found.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    every = [f"{task}/{split}" for task in TASKS for split in SPLITS]
    parser.add_argument("chosen", nargs="*", metavar="TASK/SPLIT", help="those to try (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="data sets that are tried side by side")
    parser.add_argument("--folder", type=Path, default=ROOT / "build/combinations", help="where to try them")
    arguments = parser.parse_args()
    if unknown := [key for key in arguments.chosen if key not in every]:
        parser.error(f"must be some of {', '.join(every)}; got {unknown[0]}")
    if arguments.folder.exists():
        parser.error(f"--folder must be new; {arguments.folder} exists: remove it")
    arguments.folder.parent.mkdir(parents=True, exist_ok=True)
    project = copy_project(arguments.folder.resolve())
    keys = arguments.chosen or every
    with ThreadPoolExecutor(arguments.jobs) as executor:
        rows = executor.map(lambda key: try_commands(project, *key.split("/")), keys)
        found = dict(zip(keys, rows, strict=True))
    sys.stdout.write(f"{write_table(found)}\n")
    if not arguments.chosen:
        text = insert_table(DOCUMENT.read_text(encoding="utf-8"), TABLE, write_table(found), by=COMMAND)
        DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

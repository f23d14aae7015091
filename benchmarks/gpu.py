"""Train on an NVIDIA GPU: scores compared with the CPU's, kills and resumes, an export; how fast, how busy.

python benchmarks/gpu.py                          with the pipeline's tensors in data/processed
python benchmarks/gpu.py --raw covtype.csv.gz     with the raw table, from which it makes them
python benchmarks/gpu.py --device cpu             a trial without a GPU; with --quick on a few batches

The scores are compared with those in reports/, which the pipeline reached on a CPU; `src/export.py` compares
the bundle with the net. Where a check fails, the results are written all the same, and the exit code is 1.
A trial writes into logs/benchmarks.

It needs no installation of Canopy, no DVC and no network:

- Python 3.11 or 3.12 with torch 2.11 or later, lightning 2.6.6, torchmetrics, numpy, pandas, pyarrow, scipy,
  scikit-learn, matplotlib, requests, tqdm, psutil, pyyaml, tensorboard, onnx, onnxscript and onnxruntime
- the files that git tracks (4 MB)
- the raw table (11 MB): gzip -9 --keep data/raw/covtype.csv
- these wheels (1 MB), which are pure Python:

python -m pip download --no-deps --only-binary=:all: --dest wheels colorlog==6.12.0 hydra-core==1.4.0rc3 \
    hydra-optuna-sweeper==1.4.0rc3 omegaconf==2.4.1rc1 optuna==5.0.0 rtdl-num-embeddings==0.0.12 \
    rtdl-revisiting-models==0.0.2 tabm==0.0.3
python -m pip install --no-index --no-deps --target site wheels/*.whl
PYTHONPATH=site python benchmarks/gpu.py --raw covtype.csv.gz
"""

import argparse
import gzip
import hashlib
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from common import OUT, ROOT, parse, write
from lightning import Callback

# Importable without an installation, here and in the commands.
sys.path.insert(0, str(ROOT / "src"))
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")])),
}

FOLDER = ROOT / "logs/benchmarks/gpu"
STAGES = ("fetch", "drop_columns", "split", "normalize", "cap_classes", "make_tensors")

# How far a score may be from the CPU's. Other rounding makes another run, as another seed does: about four
# times the deviation of the difference of two seeds of `default` (reports/experiments.json).
TOLERANCES = {
    "accuracy": 0.003,
    "balanced_accuracy": 0.007,
    "macro_f1": 0.008,
    "nll": 0.007,
    "ece": 0.0025,
    "calibrated.nll": 0.007,
    "calibrated.ece": 0.0025,
    "calibrated.temperature": 0.1,
}

# Dropout, so that a resume needs the random state of the device too.
KILLED = ["model.net.dropout=0.1", "callbacks.resume_checkpoint.every_n_seconds=0.2"]
N_KILLS = 3

# Of an epoch of 167: those whose time is measured, once it has warmed up.
FIRST_STEP, N_STEPS = 40, 100

# What a trace calls the work of the device; without a GPU, that of PyTorch's operators.
WORK = {"gpu": {"kernel", "gpu_memcpy", "gpu_memset"}, "cpu": {"cpu_op"}}


class Failure(Exception):  # noqa: N818 - of a part of the benchmark
    """A command that failed, with the end of its output."""


class Found(NamedTuple):
    """What a part of the benchmark found: rows of the table of results, checks, and other facts."""

    results: list[dict[str, Any]]
    checks: list[dict[str, Any]]
    facts: dict[str, Any]


def main() -> None:
    arguments = parse(
        __doc__,
        device={"choices": ["gpu", "cpu"], "default": "gpu", "help": "cpu for a trial"},
        raw={"type": Path, "help": "the raw table, CSV or CSV.gz, to make the tensors of"},
    )
    if arguments.device == "gpu" and not torch.cuda.is_available():
        raise SystemExit("An NVIDIA GPU must be there; torch found none: try it without one: --device cpu")
    if arguments.device == "cpu" and arguments.out == OUT:
        arguments.out = FOLDER.parent
    raw = None if arguments.raw is None else arguments.raw.resolve()
    arguments.out = arguments.out.resolve()
    os.chdir(ROOT)
    started = time.perf_counter()
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        prepare(raw)
    except (Failure, OSError) as error:
        raise SystemExit(f"There must be tensors to train on; found none: {error}") from error
    results: list[dict[str, Any]] = [score_of_cpu()]
    checks = [check_tensors()]
    facts: dict[str, Any] = {"cuda": torch.version.cuda}
    # A part that fails does not keep the others from being tried.
    for part in (train_and_score, export_bundle, kill_and_resume, train_on_all, measure_work):
        try:
            found = part(arguments)
        except (Failure, RuntimeError, OSError) as error:
            print(f"FAILED: {part.__name__}: {error}", file=sys.stderr, flush=True)
            checks.append(check(f"errors in {part.__name__}", 1, 0))
            continue
        results += found.results
        checks += found.checks
        facts |= found.facts
    facts["benchmark_seconds"] = round(time.perf_counter() - started, 1)
    write("gpu", results, arguments, **facts, checks=checks)
    # A few batches reach no scores.
    failed = [item for item in checks if not item["holds"] and not (arguments.quick and item["is_score"])]
    for item in failed:
        print(f"FAILED: {item}", file=sys.stderr)
    raise SystemExit(bool(failed))


def train_and_score(arguments: argparse.Namespace) -> Found:
    """Train `default` and compare its scores with the CPU's."""
    result = train_run(
        "default", [f"trainer={arguments.device}", *limits(arguments)], score_on=arguments.device
    )
    record = read(FOLDER / "default/run.json")
    names = ("seconds", "peak_gpu_memory_mib", "peak_memory_mib")
    return Found(
        [result], compare(result), {"device": result["device"], **{name: record[name] for name in names}}
    )


def export_bundle(arguments: argparse.Namespace) -> Found:  # noqa: ARG001 - as the other parts
    """Export `default`; the command compares the bundle with the net."""
    command("export", "src/export.py", f"run={FOLDER / 'default'}", f"output={FOLDER / 'bundle'}")
    difference = read(FOLDER / "bundle/model.json")["parity"]["max_difference"]
    return Found([], [check("largest difference of a probability, bundle and net", difference, 0, 1e-5)], {})


def kill_and_resume(arguments: argparse.Namespace) -> Found:
    """Train a run, and the same one killed at random moments and resumed; compare their weights."""
    options = [f"trainer={arguments.device}", *KILLED, *limits(arguments)]
    command("whole", "src/train.py", *options, f"hydra.run.dir={FOLDER / 'whole'}")
    seed = random.SystemRandom().randrange(10**6)
    rng = random.Random(seed)  # noqa: S311 - moments of kills
    # So that all kills together come before the end.
    longest = read(FOLDER / "whole/train.json")["train_seconds"] / (2 * N_KILLS + 2)
    options.append(f"hydra.run.dir={FOLDER / 'killed'}")
    for _ in range(N_KILLS):
        kill(options, seconds=rng.uniform(0, longest))
        options = [f"resume={FOLDER / 'killed'}"]
    command("killed", "src/train.py", *options)
    steps = [part["step"] for part in read(FOLDER / "killed/run.json")["commands"][1:]]
    checks = [
        check("kills that a run survived", len(steps), N_KILLS),
        *(
            check(f"tensors of {name}.ckpt that kills change", n_other_weights(name), 0)
            for name in ("best", "last")
        ),
    ]
    return Found([], checks, {"kills": {"seed": seed, "resumed_at_steps": steps}})


def train_on_all(arguments: argparse.Namespace) -> Found:
    """Train `default` on all GPUs, with the same rows in each step; without a GPU, in two processes."""
    n_gpus = torch.cuda.device_count() if arguments.device == "gpu" else 0
    if n_gpus == 1:
        print("Not run: trainer=ddp, which needs several GPUs; there is one", flush=True)
        return Found([], [], {"n_gpus": n_gpus})
    trainer = "trainer=ddp" if n_gpus else "trainer=ddp_sim"
    options = [trainer, f"data.batch_size={2048 // (n_gpus or 2)}", *limits(arguments)]
    result = train_run("ddp", options, score_on=arguments.device)
    return Found([result], compare(result), {"n_gpus": n_gpus})


def limits(arguments: argparse.Namespace) -> list[str]:
    return ["trainer.limit_train_batches=20", "trainer.limit_val_batches=2"] if arguments.quick else []


def command(name: str, script: str, *options: str) -> None:
    """Run one of the project's commands, its output in a log file.

    Raises:
        Failure: If it fails, with the end of its output.
    """
    started = time.perf_counter()
    path = FOLDER / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as log:
        code = subprocess.call(
            [sys.executable, script, *options], env=ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT
        )
    print(f"{time.perf_counter() - started:6.1f} s  python {script} {' '.join(options)}", flush=True)
    if code:
        raise Failure(f"{path.read_text()[-3000:]}\npython {script} ended with {code}: {path}")


def read(path: str | Path) -> Any:
    return json.loads(Path(path).read_text())


def prepare(raw: Path | None) -> None:
    """Make the tensors by the stages' scripts, if a raw table is given or there are none."""
    paths = yaml.safe_load(Path("params.yaml").read_text())["paths"]
    if raw is None and Path(paths["processed"], "schema.json").is_file():
        return
    if raw is not None:
        Path(paths["raw"]).parent.mkdir(parents=True, exist_ok=True)
        opener: Any = gzip.open if raw.suffix == ".gz" else Path.open
        with opener(raw, "rb") as source, Path(paths["raw"]).open("wb") as target:
            shutil.copyfileobj(source, target)
    for stage in STAGES:
        command(stage, f"scripts/{stage}.py")


def check_tensors() -> dict[str, Any]:
    """Compare the tensors with those that the CPU's scores are of, by their schema's hash in dvc.lock."""
    stages = yaml.safe_load(Path("dvc.lock").read_text())["stages"]
    outs = [out for out in stages["make_tensors"]["outs"] if out["path"].endswith("schema.json")]
    found = [hashlib.md5(Path(out["path"]).read_bytes(), usedforsecurity=False).hexdigest() for out in outs]
    n_other = sum(md5 != out["md5"] for md5, out in zip(found, outs, strict=True))
    return check("tensors other than those in dvc.lock", n_other, 0)


def check(
    what: str, found: float, expected: float, tolerance: float = 0, *, is_score: bool = False
) -> dict[str, Any]:
    return {
        "check": what,
        "found": found,
        "expected": expected,
        "tolerance": tolerance,
        "is_score": is_score,
        "holds": abs(found - expected) <= tolerance,
    }


def kill(options: list[str], *, seconds: float) -> None:
    """Start training in the folder `killed`, and send SIGKILL some seconds after its next checkpoint.

    Raises:
        Failure: If training ended before.
    """
    last = FOLDER / "killed/checkpoints/last.ckpt"

    def saved() -> int:
        return last.stat().st_mtime_ns if last.is_file() else 0

    before = saved()
    with (FOLDER / "kills.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "src/train.py", *options], env=ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT
        )
        while process.poll() is None and saved() == before:
            time.sleep(0.01)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            raise Failure(f"Training must be killed in its midst; it ended before: {FOLDER / 'kills.log'}")
    print(f"          killed {seconds:.2f} s after a checkpoint", flush=True)


def n_other_weights(name: str) -> int:
    """Count the tensors of a checkpoint that the run that was killed has otherwise than the whole one."""
    from canopy.training.checkpoint import load_checkpoint

    whole, killed = (
        load_checkpoint(FOLDER / run / f"checkpoints/{name}.ckpt")["state_dict"]
        for run in ("whole", "killed")
    )
    return sum(not torch.equal(whole[key], killed[key]) for key in whole)


def train_run(name: str, options: list[str], *, score_on: str) -> dict[str, Any]:
    """Train a run and score it on the test rows; give its row of the table of results."""
    run = FOLDER / name
    command(name, "src/train.py", *options, f"hydra.run.dir={run}")
    command(f"{name}_scores", "src/evaluate.py", f"run={run}", f"trainer={score_on}")
    return {"run": name, **figures(read(run / "train.json"), read(run / "evaluation/metrics.json")["test"])}


def score_of_cpu() -> dict[str, Any]:
    """Give the row of the pipeline's run, which was trained on a CPU."""
    report, metrics = read("reports/train.json"), read("reports/metrics.json")
    return {"run": "default, in reports/", **figures(report, metrics["test"])}


def figures(report: dict[str, Any], scores: dict[str, Any]) -> dict[str, Any]:
    """Give a row of the table of results."""
    flat = {**scores, **{f"calibrated.{key}": value for key, value in scores["calibrated"].items()}}
    return {
        "device": report["device"],
        "train seconds": report["train_seconds"],
        "rows/s": report["rows_per_second"],
        **{name: round(flat[name], 6) for name in TOLERANCES},
    }


def compare(found: dict[str, Any]) -> list[dict[str, Any]]:
    expected = score_of_cpu()
    return [
        check(
            f"{name} of {found['run']} compared with the CPU's",
            found[name],
            expected[name],
            tolerance,
            is_score=True,
        )
        for name, tolerance in TOLERANCES.items()
    ]


class Window(Callback):
    """Take the wall time of some steps, or what happens meanwhile.

    Args:
        first: The first step.
        n_steps: How many.
        profiler: What records them, if anything does.
    """

    def __init__(self, first: int, n_steps: int, profiler: torch.profiler.profile | None = None) -> None:
        self.first, self.last = first, first + n_steps - 1
        self.profiler = profiler
        self.seconds = 0.0
        self._started = 0.0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == self.first:
            wait()
            if self.profiler is not None:
                self.profiler.start()
            self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == self.last:
            wait()
            self.seconds = time.perf_counter() - self._started
            if self.profiler is not None:
                self.profiler.stop()


def wait() -> None:
    """Wait until the GPU has done all that it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure_work(arguments: argparse.Namespace) -> Found:
    """Measure which share of the time of a training step the device computes.

    The time that it computes is that of all kernels, copies and fills in a trace of some steps, overlaps
    counted once. Tracing slows down the processor, not the kernels; the wall time is therefore that of the
    same steps in a run without a trace.
    """
    from hydra import compose, initialize_config_dir
    from hydra.utils import execution_whitelist

    from canopy.params import mount_params
    from canopy.runs.entry import TRUSTED_TARGETS
    from canopy.training.fit import prepare

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    device = arguments.device
    first, n_steps = (5, 10) if arguments.quick else (FIRST_STEP, N_STEPS)
    activity = getattr(torch.profiler.ProfilerActivity, "CUDA" if device == "gpu" else "CPU")
    windows = [Window(first, n_steps), Window(first, n_steps, torch.profiler.profile(activities=[activity]))]
    options = [f"trainer={device}", "trainer.max_epochs=1", f"trainer.limit_train_batches={first + n_steps}"]
    mount_params()
    with execution_whitelist(TRUSTED_TARGETS), initialize_config_dir(str(ROOT / "configs"), job_name="train"):
        for index, window in enumerate(windows):
            cfg = compose("train", [*options, f"run_folder={FOLDER / f'work_{index}'}"])
            run = prepare(cfg)
            run.trainer.callbacks.append(window)  # type: ignore[attr-defined]
            run.trainer.fit(run.model, datamodule=run.data)
    loader = run.trainer.train_dataloader
    assert loader is not None
    spans = read_spans(windows[1].profiler, WORK[device])
    seconds = covered(spans) / 1e6
    n_on_gpu = sum(tensor.is_cuda for tensor in loader.dataset.rows)
    work = {
        "share": round(seconds / windows[0].seconds, 4),
        "milliseconds_per_step": round(1e3 * windows[0].seconds / n_steps, 3),
        "work_milliseconds_per_step": round(1e3 * seconds / n_steps, 3),
        "traced_milliseconds_per_step": round(1e3 * windows[1].seconds / n_steps, 3),
        "kernels_per_step": round(len(spans) / n_steps, 1),
        "steps": n_steps,
    }
    checks = [check("tensors of the training rows on the GPU", n_on_gpu, 3 if device == "gpu" else 0)]
    return Found([], checks, {"work": work})


def read_spans(profiler: Any, categories: set[str]) -> list[tuple[float, float]]:
    """Give the beginning and the end of each piece of work in a trace, in microseconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = read(path)["traceEvents"]
    return [
        (float(event["ts"]), float(event["ts"]) + float(event["dur"]))
        for event in events
        if event.get("cat") in categories and event.get("ph") == "X"
    ]


def covered(spans: list[tuple[float, float]]) -> float:
    """Add up what spans of time cover, overlaps once.

    Examples:
        >>> covered([(0.0, 2.0), (5.0, 6.0), (1.0, 3.0)])
        4.0
    """
    total, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


if __name__ == "__main__":
    main()

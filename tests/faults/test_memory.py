"""Memory: a table ten times as long takes no more than a stated number of bytes for each byte of it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.project import ROOT, STAGES, Project, environment

pytestmark = [pytest.mark.faults, pytest.mark.long]

# Copies of the sample: 40,080 rows and ten times as many.
COPIES = (10, 100)
# MiB of memory for each further MiB of the raw table. Its 130 characters a row are 55 numbers of 8 bytes as
# Arrow holds them, 3.4 bytes for each byte; a stage has the table some times over.
BOUND = {
    **dict.fromkeys(("drop_columns", "split", "normalize", "cap_classes", "make_tensors"), 12.0),
    "explore": 16.0,
}
# MiB that predicting may take more for ten times the rows, whatever their number: it works block by block.
# The blocks are small here, since Arrow reads 32 of them ahead: of the command's own of 4 MiB that would be
# 128 MiB, more than this table has.
PREDICT_BOUND = 40.0
PREDICT = """
import sys
from hydra.utils import execution_whitelist
from omegaconf import OmegaConf
from canopy.entry import TRUSTED_TARGETS
from canopy.evaluation.predict import predict
kind, model, source, target = sys.argv[1:]
cfg = {"run": None, "bundle": None, "batch_size": 4096, "accelerator": "cpu"}
with execution_whitelist(TRUSTED_TARGETS):
    predict(OmegaConf.create({**cfg, "input": source, "output": target, kind: model}), block_bytes=2**17)
"""

# A process begins with the peak of the one that started it: a small one does.
LAUNCH = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def peak_mib(folder: Path, *argv: str) -> float:
    """Run Python and give the most memory that it held."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCH, sys.executable, *argv],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Linux counts in KiB, macOS in bytes.
    return int(done.stdout) / (2**20 if sys.platform == "darwin" else 2**10)


def repeat(sample: str, n_copies: int, path: Path) -> float:
    """Write the sample's rows several times; gives the file's size in MiB."""
    header, _, rows = sample.partition("\n")
    with path.open("w") as file:
        file.write(f"{header}\n")
        for _ in range(n_copies):
            file.write(rows)
    return path.stat().st_size / 2**20


def test_the_memory_of_stages_grows_with_the_table_alone(
    prepared: Project, sample_csv: str, tmp_path: Path, count: Callable[..., None]
) -> None:
    sizes, peaks = [], {}
    for n_copies in COPIES:
        folder = tmp_path / str(n_copies)
        folder.mkdir()
        sizes.append(repeat(sample_csv, n_copies, folder / "raw.csv"))
        options = [f"paths.raw={folder}/raw.csv", "cap_classes.max_per_class=null"]
        options += [f"paths.{name}={folder}/{name}" for name in ("interim", "processed", "reports")]
        for stage in STAGES:
            peaks[stage, n_copies] = peak_mib(prepared.folder, str(ROOT / f"scripts/{stage}.py"), *options)
    more = sizes[1] - sizes[0]
    told = "{split:.0f} further MiB for each further MiB of the raw table (`explore` {explore:.0f})"
    assert told.format_map(BOUND) in " ".join((ROOT / "docs/faults.md").read_text().split())
    for stage in STAGES:
        ratio = (peaks[stage, COPIES[1]] - peaks[stage, COPIES[0]]) / more
        count(f"memory.{stage}: MiB for each MiB of the table", round(ratio, 1))
        assert ratio <= BOUND[stage], (stage, ratio)


@pytest.mark.parametrize(("kind", "model"), [("bundle", "models/canopy"), ("run", "models/trained")])
def test_the_memory_of_predicting_does_not_grow(
    kind: str, model: str, trained: Project, sample_csv: str, tmp_path: Path, count: Callable[..., None]
) -> None:
    peaks = []
    for n_copies in COPIES:
        repeat(sample_csv, n_copies, tmp_path / "raw.csv")
        words = ("-c", PREDICT, kind, model, str(tmp_path / "raw.csv"), str(tmp_path / "predicted.csv"))
        peaks.append(peak_mib(trained.folder, *words))
    count(f"memory.predict by {kind}: MiB more for ten times the rows", round(peaks[1] - peaks[0], 1))
    assert peaks[1] - peaks[0] <= PREDICT_BOUND

"""Memory: no stage and no prediction holds the table, so a longer one takes hardly more."""

import subprocess
import sys
from pathlib import Path

import pytest

from faults.project import ROOT, STAGES, Project, environment

pytestmark = [pytest.mark.faults, pytest.mark.long]

# Copies of the sample: 601,200 rows, of which stages keep as many for quantiles as of any number, and three
# times as many.
COPIES = (150, 450)
# Most memory that a table three times as long may take, as a multiple.
BOUND = 1.3

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


@pytest.fixture(scope="module")
def tables(sample_csv: str, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("tables")
    for n_copies in COPIES:
        repeat(sample_csv, n_copies, folder / f"{n_copies}.csv")
    return [folder / f"{n_copies}.csv" for n_copies in COPIES]


def test_the_memory_of_stages_hardly_grows(prepared: Project, tables: list[Path], tmp_path: Path) -> None:
    peaks: dict[str, list[float]] = {}
    for table in tables:
        folder = tmp_path / table.stem
        options = [f"paths.raw={table}", "cap_classes.max_per_class=10000"]
        options += [f"paths.{name}={folder}/{name}" for name in ("interim", "processed", "reports")]
        for stage in STAGES:
            found = peak_mib(prepared.folder, str(ROOT / f"scripts/{stage}.py"), *options)
            peaks.setdefault(stage, []).append(found)
    assert f"at most {BOUND} times the memory" in " ".join((ROOT / "docs/faults.md").read_text().split())
    for stage, (few, many) in peaks.items():
        assert many <= BOUND * few, (stage, few, many)


@pytest.mark.parametrize(("kind", "model"), [("bundle", "models/canopy"), ("run", "models/trained")])
def test_the_memory_of_predicting_hardly_grows(
    kind: str, model: str, trained: Project, tables: list[Path], tmp_path: Path
) -> None:
    few, many = (
        peak_mib(
            trained.folder,
            str(ROOT / "src/predict.py"),
            f"{kind}={model}",
            f"input={table}",
            f"output={tmp_path}/predicted.csv",
        )
        for table in tables
    )
    assert many <= BOUND * few

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


def peak(project: Project, script: str, *options: str) -> int:
    """Run a script and give the most memory that it held."""
    command = [sys.executable, "-S", "-c", LAUNCH, sys.executable, str(ROOT / script), *options]
    done = subprocess.run(
        command, cwd=project.folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.fixture(scope="module")
def tables(sample_csv: str, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The sample's rows several times."""
    folder = tmp_path_factory.mktemp("tables")
    header, _, rows = sample_csv.partition("\n")
    for n_copies in COPIES:
        with (folder / f"{n_copies}.csv").open("w") as file:
            file.write(f"{header}\n")
            file.writelines(rows for _ in range(n_copies))
    return [folder / f"{n_copies}.csv" for n_copies in COPIES]


def test_the_memory_of_stages_hardly_grows(prepared: Project, tables: list[Path], tmp_path: Path) -> None:
    assert f"at most {BOUND} times the memory" in " ".join((ROOT / "docs/faults.md").read_text().split())
    peaks: dict[str, list[int]] = {stage: [] for stage in STAGES}
    for table in tables:
        options = [f"paths.raw={table}", "cap_classes.max_per_class=10000"]
        options += [
            f"paths.{name}={tmp_path}/{table.stem}/{name}" for name in ("interim", "processed", "reports")
        ]
        for stage in STAGES:
            peaks[stage].append(peak(prepared, f"scripts/{stage}.py", *options))
    for stage, (few, many) in peaks.items():
        assert many <= BOUND * few, (stage, few, many)


@pytest.mark.parametrize("model", ["bundle=models/canopy", "run=models/trained"])
def test_the_memory_of_predicting_hardly_grows(
    model: str, trained: Project, tables: list[Path], tmp_path: Path
) -> None:
    few, many = (
        peak(trained, "src/predict.py", model, f"input={table}", f"output={tmp_path}/p.csv")
        for table in tables
    )
    assert many <= BOUND * few

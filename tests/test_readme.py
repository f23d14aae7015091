"""The README and the tables of the documentation hold what the reports do."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from canopy.compare import summary
from canopy.compare.experiments import compose_experiments, read_experiments
from canopy.compare.summary import DOCUMENTS
from packages import ROOT


def test_the_readme_is_short_and_its_file_tree_true() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 200
    tree = text.split("## Project structure")[1].split("```")[1]
    parents: list[str] = []
    for line in tree.strip().splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        parents = [*parents[:depth], line.split()[0]]
        assert (ROOT / "/".join(part.rstrip("/") for part in parents)).exists(), line


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_results_are_those_of_the_reports(document: str, tmp_path: Path) -> None:
    """The committed documents hold what the committed reports do, whatever has been run since."""

    def committed(path: str) -> str:
        command = ["git", "show", f"HEAD:{path}"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    (tmp_path / "benchmark").mkdir()
    for name in ("metrics", "train", "benchmark/peers", "experiments", "compression"):
        (tmp_path / f"{name}.json").write_text(committed(f"reports/{name}.json"))
    text = committed(document)
    assert summary.fill_document(text, tmp_path) == text, 'run "make readme"'
    (tmp_path / "metrics.json").unlink()
    with pytest.raises(FileNotFoundError, match='metrics.json must exist; .* run "make repro" first'):
        summary.summarize(tmp_path)


def test_each_table_has_its_place() -> None:
    for name in ("results", "peers", "compression", "experiments"):
        assert any(summary.marks(name)[0] in (ROOT / path).read_text() for path in DOCUMENTS), name
    begin, end = summary.marks("results")
    with pytest.raises(ValueError, match="must hold the marks"):
        summary.insert_table(f"{end} {begin}", "results", "table")


def test_the_reported_experiments_are_those_of_the_configs() -> None:
    """Figures of an experiment whose config has changed since are worth nothing."""
    recipes = compose_experiments(ROOT / "configs")
    for run in read_experiments(ROOT / "reports/experiments.json").itertuples():
        assert run.recipe == recipes[run.name], f"measure {run.name} again"


def test_the_tables_of_sweeps_and_compression_are_those_of_their_reports() -> None:
    sweepers = pd.read_csv(ROOT / "reports/benchmark/sweepers.csv").pivot_table(
        index="seed", columns="sweeper"
    )
    rows = [
        f"| {seed} | {row['trials_per_hour', 'stock']:.0f} | {row['trials_per_hour', 'ours']:.0f} "
        f"| {row['best_in_time', 'stock']:.4f} | {row['best_in_time', 'ours']:.4f} |"
        for seed, row in sweepers.iterrows()
    ]
    trials = pd.read_csv(ROOT / "reports/sweeps/mlp_periodic.csv")
    shown = trials.rename(columns=lambda name: name.rpartition(".")[2]).head(4)
    form = (
        "| {number} | {dropout:.3f} | {lr:.4f} | {weight_decay:.3f} | {momentum:.3f} | {pct_start:.2f} "
        "| {n_frequencies} | {d_embedding} | {frequency_init_scale:.2f} | {val/accuracy:.4f} |"
    )
    best = "\n".join(form.format_map(trial) for trial in shown.to_dict("records"))
    pruned = f"{len(trials)} trials, {(trials['state'] == 'pruned').sum()} of them pruned"
    large = summary.compression_table(json.loads((ROOT / "reports/compression_best.json").read_text()))
    sweeps, compression = ((ROOT / f"docs/{name}.md").read_text() for name in ("sweeps", "compression"))
    assert "\n".join(rows) in sweeps
    assert best in sweeps
    assert pruned in " ".join(sweeps.split())
    assert large in compression


def test_the_page_of_benchmarks_shows_each_kept_result(tmp_path: Path) -> None:
    for path in (ROOT / "reports/benchmark").glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text())
    command = [sys.executable, "benchmarks/page.py", "--out", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    page = (tmp_path / "index.html").read_text()
    for path in tmp_path.glob("*.json"):
        assert f"Measured on {json.loads(path.read_text())['measured']}" in page, path.name


def test_overlapping_work_of_a_gpu_counts_once() -> None:
    subprocess.run([sys.executable, "-m", "doctest", "gpu.py"], cwd=ROOT / "benchmarks", check=True)

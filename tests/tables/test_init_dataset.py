"""The command that drafts a data set: its folder, its params.yaml, its messages."""

import csv
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from omegaconf import OmegaConf

from canopy.files import sha256
from canopy.params_sections import Params
from canopy.quoting import escape_yaml
from canopy.schema import TableSchema
from canopy.tables.draft.draft import draft_table, new_folder, write_data_set
from canopy.tables.rows import read_table
from odd_names import ODD_NAMES

ROOT = Path(__file__).parents[2]
CLASSES = ["???", "${z}", "1e5", "yes"]


def test_names_survive_params(tmp_path: Path) -> None:
    """YAML, OmegaConf and SQL could take names, categories and classes for something else."""
    names = ODD_NAMES[1:]
    path = tmp_path / "odd.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(ODD_NAMES)
        for row in range(160):
            texts = [f"{names[(row + index) % 7]}!" for index in range(len(names))]
            writer.writerow([CLASSES[row % 4], *texts])
    drafted = draft_table(path, target=ODD_NAMES[0])
    write_data_set(drafted, tmp_path / "datasets/odd")
    text = (tmp_path / "datasets/odd/params.yaml").read_text(encoding="utf-8")
    params = yaml.safe_load(text)
    assert [*params] == [section.name for section in fields(Params)]
    # As the stages read it, and as a run's config keeps it.
    loaded: Any = OmegaConf.to_container(OmegaConf.create(escape_yaml(text)), resolve=True)
    for table in (params["table"], loaded["table"]):
        del table["title"], table["about"]
        assert TableSchema.parse(table) == drafted.schema
    assert [*drafted.schema.target.classes] == sorted(CLASSES)
    raw = tmp_path / "datasets/odd" / params["paths"]["raw"]
    assert params["fetch"]["sha256"] == sha256(raw) == sha256(path)
    assert sum(batch.num_rows for batch in read_table(raw, drafted.schema)) == 160


@pytest.mark.parametrize(("pattern", "name"), [("a/w.csv.gz", "w"), ("a/b", "b"), ("a/b/*.csv", "b")])
def test_a_data_set_is_named_as_its_file_or_folder(pattern: str, name: str) -> None:
    assert new_folder(pattern) == Path("datasets", name)
    with pytest.raises(ValueError, match="must be letters, digits, - and _; got"):
        new_folder(pattern, "../x")


def test_several_files_are_copied_with_the_hash_of_each(tmp_path: Path) -> None:
    for name in ("b.csv.gz", "a.csv.gz"):
        with pa.output_stream(tmp_path / name) as file:
            file.write(("a,y\n" + "".join(f"{row},{row % 2}\n" for row in range(9)) * 3).encode())
    for pattern in ("*", "a*"):
        drafted = draft_table(tmp_path / f"{pattern}.csv.gz", target="y")
        folder = tmp_path / f"datasets/{len(drafted.files)}"
        write_data_set(drafted, folder)
        params = yaml.safe_load((folder / "params.yaml").read_text())
        raw = folder / params["paths"]["raw"]
        expected = (
            {path.name: sha256(path) for path in sorted(raw.iterdir())} if raw.is_dir() else sha256(raw)
        )
        assert params["fetch"]["sha256"] == expected
        assert sum(batch.num_rows for batch in read_table(raw, drafted.schema)) == 27 * len(drafted.files)


def execute(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "src/init_dataset.py"), *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_command_prints_the_columns_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "wine.csv").write_text("a,y\n" + "".join(f"{row % 7},{row % 2}\n" for row in range(90)))
    done = execute(tmp_path, "wine.csv", "--target", "y")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "wine.csv: 90 rows, 2 columns",
        "  y  target       2 classes: '0' (45 rows), '1' (45 rows)",
        "  a  numeric      integers 0 to 6",
        "",
        "Drafted datasets/wine/params.yaml. Correct the columns, first those with an exclamation mark; then",
        "  make repro DATA=wine",
    ]
    for options, message in (
        ("wine.csv --target y", "Error: datasets/wine must be new; it exists: give another --name\n"),
        ("wine.csv --target b --name x", "Error: --target must be a column of wine.csv"),
    ):
        done = execute(tmp_path, *options.split())
        assert done.returncode == 1
        assert done.stderr.startswith(message)
    assert [path.name for path in (tmp_path / "datasets").iterdir()] == ["wine"]

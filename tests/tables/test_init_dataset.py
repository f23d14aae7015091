"""The command that drafts a data set: its folder, its params.yaml, its messages."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from canopy.files import sha256
from canopy.params_sections import Params
from canopy.quoting import escape_yaml
from canopy.schema import TableSchema
from canopy.tables.draft.draft import draft_table, new_folder, split_sizes, write_data_set
from canopy.tables.rows import read_table
from drafted import write
from odd_names import ODD_NAMES

ROOT = Path(__file__).parents[2]
CLASSES = ["???", "${z}", "1e5", "yes"]


def test_names_survive_params(tmp_path: Path) -> None:
    """YAML, OmegaConf and SQL could take names, categories and classes for something else."""
    target, *names = ODD_NAMES
    texts = {name: [f"{names[(row + i) % 7]}!" for row in range(160)] for i, name in enumerate(names)}
    path = write(tmp_path / "odd.csv", {target: CLASSES * 40, **texts})
    drafted = draft_table(path, target=target)
    write_data_set(drafted, tmp_path / "datasets/odd")
    text = (tmp_path / "datasets/odd/params.yaml").read_text(encoding="utf-8")
    params = yaml.safe_load(text)
    assert [*params] == [section.name for section in fields(Params) if section.name != "engine"]
    # As the stages read it, and as a run's config keeps it.
    loaded: Any = OmegaConf.to_container(OmegaConf.create(escape_yaml(text)), resolve=True)
    for table in (params["table"], loaded["table"]):
        del table["title"], table["about"]
        assert TableSchema.parse(table) == drafted.schema
    assert [*drafted.schema.target.classes] == sorted(CLASSES)
    raw = tmp_path / "datasets/odd" / params["paths"]["raw"]
    assert params["fetch"]["sha256"] == sha256(raw) == sha256(path)
    assert sum(batch.num_rows for batch in read_table(raw, drafted.schema)) == 160


def test_a_data_set_is_named_as_its_file_or_folder() -> None:
    for pattern in ("a/b.csv.gz", "a/b", "a/b/*.csv"):
        assert new_folder(pattern) == Path("datasets/b")
    with pytest.raises(ValueError, match="must be letters, digits, - and _; got"):
        new_folder("b.csv", "../x")


def test_each_split_has_a_row_of_each_class() -> None:
    sizes = [split_sizes(5000, 3), split_sizes(100, 20), split_sizes(30, 10)]
    assert sizes == [(0.2, 0.2), (0.2, 0.2437), (0.3167, 0.475)]


def test_several_files_are_copied_with_the_hash_of_each(tmp_path: Path) -> None:
    for name in ("b.csv.gz", "a.csv.gz"):
        write(tmp_path / name, {"a": [*range(9)] * 3, "y": [0, 1, 2] * 9})
    for pattern in ("*", "a*"):
        drafted = draft_table(tmp_path / f"{pattern}.csv.gz", target="y")
        folder = tmp_path / f"datasets/{len(drafted.files)}"
        write_data_set(drafted, folder)
        params = yaml.safe_load((folder / "params.yaml").read_text())
        raw = folder / params["paths"]["raw"]
        hashes = {path.name: sha256(path) for path in raw.iterdir()} if raw.is_dir() else sha256(raw)
        assert params["fetch"]["sha256"] == hashes
        assert sum(batch.num_rows for batch in read_table(raw, drafted.schema)) == 27 * len(drafted.files)


def test_command_prints_the_columns_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    rows = "".join(f"{row % 7},{-999 if row % 9 else row % 8},{row % 2}\n" for row in range(90))
    (tmp_path / "wine.csv").write_text(f'a,"b\nc",y\n{rows}')
    for options, code, message in (
        (
            "wine.csv --target y",
            0,
            "wine.csv: 90 rows, 3 columns\n"
            "  y    target       2 classes: '0' (45 rows), '1' (45 rows)\n"
            "  a    numeric      integers 0 to 6\n"
            "! b c  numeric      integers -999 to 7; -999 (80 rows; next 0): missing? Then "
            'null_values: ["", "-999"], missing: median\n\n'
            "Drafted datasets/wine/params.yaml. Correct the columns, first those with an exclamation mark; "
            "then\n  make repro DATA=wine\n",
        ),
        ("wine.csv --target y", 1, "Error: datasets/wine must be new; it exists: give another --name\n"),
        ("wine.csv --target b --name x", 1, "Error: --target must be a column of wine.csv"),
    ):
        command = [sys.executable, str(ROOT / "src/init_dataset.py"), *options.split()]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert (done.stdout + done.stderr).startswith(message)
    assert [path.name for path in (tmp_path / "datasets").iterdir()] == ["wine"]

"""The command that drafts a data set: its folder, its params.yaml, its messages."""

import csv
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
from canopy.tables.draft.data_set import check_name, render, write_data_set
from canopy.tables.draft.draft import draft_table
from canopy.tables.rows import read_table
from odd_names import ODD_NAMES

ROOT = Path(__file__).parents[2]
CLASSES = ["???", "${z}", "1e5", "yes"]


@pytest.fixture
def odd_table(tmp_path: Path) -> Path:
    """A table whose names, categories and classes YAML, OmegaConf and SQL could take for something else."""
    names = ODD_NAMES[1:]
    path = tmp_path / "odd.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(ODD_NAMES)
        for row in range(160):
            texts = [f"{names[(row + index) % 7]}!" for index in range(len(names))]
            writer.writerow([CLASSES[row % 4], *texts])
    return path


def test_params_have_each_section_and_the_table_as_drafted(tmp_path: Path, odd_table: Path) -> None:
    drafted = draft_table(odd_table, target=ODD_NAMES[0])
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
    assert params["fetch"]["sha256"] == sha256(raw) == sha256(odd_table)
    assert sum(batch.num_rows for batch in read_table(raw, drafted.schema)) == 160


def test_groups_classes_and_remarks_are_in_the_draft(tmp_path: Path) -> None:
    groups = ["1,0,0", "0,1,0", "0,0,1"]
    numbers = [-999 if row % 5 == 0 else row / 7 for row in range(90)]
    rows = [f"{groups[row % 3]},{number},{row % 2}" for row, number in enumerate(numbers)]
    (tmp_path / "t.csv").write_text("s_1,s_2,s_3,a,y\n" + "\n".join(rows) + "\n")
    text = render(draft_table(tmp_path / "t.csv", target="y"), name="t", raw="t.csv", sha256="0")
    assert '      one_hot: # column of the file: name\n        "s_1": "s_1"\n' in text
    assert '    classes: # value in the file: name\n      "0": "0"\n      "1": "1"\n' in text
    assert '    "a": {kind: numeric} # -999 to 12.71; -999 (18 rows; next 0.1429): missing? Then' in text


def test_several_files_are_copied_with_the_hash_of_each(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.csv").write_text("a,y\n" + "".join(f"{row},{row % 2}\n" for row in range(9)) * 3)
    drafted = draft_table(tmp_path / "*.csv", target="y")
    write_data_set(drafted, tmp_path / "datasets/parts")
    params = yaml.safe_load((tmp_path / "datasets/parts/params.yaml").read_text())
    raw = tmp_path / "datasets/parts" / params["paths"]["raw"]
    assert params["fetch"]["sha256"] == {path.name: sha256(path) for path in sorted(raw.iterdir())}
    assert sum(batch.num_rows for batch in read_table(raw, drafted.schema)) == 54


@pytest.mark.parametrize("name", ["../x", "", "a b", ".x"])
def test_a_name_that_is_no_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be letters, digits, - and _; got"):
        check_name(name)


def execute(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "src/init_dataset.py"), *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_command_prints_the_columns_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "wine.csv").write_text("a,y\n" + "".join(f"{row % 7},{row % 2}\n" for row in range(90)))
    done = execute(tmp_path, "wine.csv", "--target", "y")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "wine.csv: 90 rows, 2 columns, csv, delimiter ','",
        "  y  target       2 classes: '0' 50 %, '1' 50 %",
        "  a  numeric      integers 0 to 6",
        "",
        "Drafted datasets/wine/params.yaml. Correct the columns, first those with an exclamation mark; then",
        "  make repro DATA=wine",
    ]
    for options, message in (
        ("wine.csv --target y", "Error: datasets/wine must be new; it exists: give another --name\n"),
        ("wine.csv --target b --name x", "Error: --target must be a column of wine.csv; got 'b'"),
        ("wein.csv --target y", "Error: The table wein.csv must exist"),
    ):
        done = execute(tmp_path, *options.split())
        assert done.returncode == 1
        assert done.stderr.startswith(message)
        assert done.stderr.count("\n") <= 3
    assert [path.name for path in (tmp_path / "datasets").iterdir()] == ["wine"]
    done = execute(tmp_path / "datasets", "../wine.csv", "--target", "y")
    assert "must run in the project's folder" in done.stderr

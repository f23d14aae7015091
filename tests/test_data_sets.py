"""Other tables through the same pipeline: two of scikit-learn's, and one of odd names that is drafted."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
import yaml
from omegaconf import OmegaConf

from canopy.prepare.interim import SPLIT_COLUMN
from canopy.quoting import write_command
from canopy.runs.keys import training_values
from canopy.runs.reproduce import same_weights
from canopy.schema.table import NULL_VALUES
from drafted import write
from odd_names import ODD_NAMES
from packages import INSTALL, execute, served

ROOT = Path(__file__).parents[1]
COPIED = (
    *("configs", "scripts", "src", "datasets", "params.yaml", "dvc.yaml", ".dvcignore", ".gitignore"),
    *("Makefile", "requirements.lock", "pyproject.toml"),
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, copy_project: Callable[..., None]) -> Path:
    """A copy of the project in which nothing has been run."""
    folder = tmp_path_factory.mktemp("project")
    copy_project(folder, *COPIED)
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"], ["sh", "-c", INSTALL]):
        execute(*command, folder=folder)
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["penguins", "titanic"])
def test_a_table_of_another_kind_goes_through_the_whole_pipeline(project: Path, name: str) -> None:
    folder = project / "datasets" / name
    # What a folder has of an older pipeline is brought up to date.
    (folder / "dvc.yaml").write_text("stages: {old: {cmd: 'false'}}")
    for message in ("Test accuracy", "Data and pipelines are up to date"):
        assert message in execute("make", "repro", f"DATA={name}", folder=project).stdout
    assert not (project / "data").exists(), "everything stays in the data set's folder"
    scores = read(folder / "reports/metrics.json")["test"]
    largest = max(found["support"] for found in scores["per_class"].values())
    assert scores["accuracy"] > largest / scores["n_rows"] + 0.1
    # The bundle takes the raw table, with its missing values, and gives the scores of the report.
    raw = next((folder / "data/raw").glob("*.csv"))
    options = ("bundle=models/canopy", f"input={raw}", "output=predicted.csv")
    execute("python", "../../src/predict.py", *options, folder=folder)
    target = read(folder / "data/processed/schema.json")["target"]
    table = pd.read_csv(folder / "data/interim/normalize.csv")
    tested = table[SPLIT_COLUMN] == "test"
    predicted = pd.read_csv(folder / "predicted.csv")["label"]
    assert (predicted == table[target])[tested].mean() == scores["accuracy"]
    # Some rows have missing values, and a feature indicates it.
    assert table.filter(like=" (missing)").to_numpy().sum() > 0
    with served(folder, "../../src/serve.py") as url:
        done = requests.post(f"{url}/predict/csv", data=raw.read_bytes(), timeout=60)
        assert done.text.count("\n") == len(predicted) + 1
        found = requests.get(f"{url}/drift", timeout=60).json()["columns"]
    assert all(column["index"] < 0.25 for column in found), "the training rows are among these"


@pytest.mark.slow
def test_every_command_trains_a_data_set_the_same_way(project: Path) -> None:
    folder = project / "datasets/penguins"
    execute("make", "repro", "DATA=penguins", folder=project)
    trained = folder / "models/trained"
    expected = training_values(OmegaConf.load(trained / "config.yaml"))
    execute("make", "train", "DATA=penguins", "ARGS=name=made", folder=project)
    execute("python", "../../src/train.py", "-m", "seed=42", "name=many", folder=folder)
    for pattern in ("logs/train/runs/*_made", "logs/train/multiruns/*/0_many"):
        (run,) = folder.glob(pattern)
        assert training_values(OmegaConf.load(run / "config.yaml")) == expected
        assert same_weights(run / "checkpoints/best.ckpt", trained / "checkpoints/best.ckpt")
        assert "experiment=" not in " ".join(read(run / "run.json")["commands"][0]["overrides"])
    (pipelines,) = folder.glob(f"logs/train/runs/{read(trained / 'run.json')['name']}")
    assert pipelines.name.endswith("_mlp")


@pytest.mark.slow
def test_a_data_set_does_without_the_data_of_the_project(project: Path, tmp_path: Path) -> None:
    folder = project / "datasets/penguins"
    execute("make", "repro", "DATA=penguins", folder=project)
    # Somebody else has run the other pipelines.
    shutil.copyfile(ROOT / "dvc.lock", project / "dvc.lock")
    if not (project / "datasets/titanic/dvc.lock").is_file():
        for name in ("dvc.yaml", "dvc.lock"):
            shutil.copyfile(ROOT / name, project / "datasets/titanic" / name)
    execute("sh", "-c", "git config user.name a; git config user.email a@b; git add .", folder=project)
    execute("git", "commit", "--quiet", "--message=First", folder=project)
    guide = (ROOT / "docs/data_sets.md").read_text()
    (leave_group_out,) = re.findall(
        r"^## The data of one folder alone\n.*?```bash\n(.*?)```", guide, re.DOTALL | re.MULTILINE
    )
    execute("make", "remote", f"URL={tmp_path}", folder=project)
    execute("make", "push", "DATA=penguins", folder=project)
    assert execute("dvc", "checkout", folder=folder, check=False).returncode != 0
    # With a target, or with the line of the guide, only the folder's own files are asked for.
    shutil.rmtree(project / ".dvc/cache")
    shutil.rmtree(folder / "data")
    execute("make", "pull", "DATA=penguins", folder=project)
    assert "up to date" in execute("dvc", "status", "dvc.yaml", folder=folder).stdout
    execute("bash", "-ec", leave_group_out, folder=project)
    shutil.rmtree(folder / "data/processed")
    for command in ("pull", "push"):
        execute("dvc", command, "--quiet", folder=folder)
    assert execute("dvc", "status", folder=folder).stdout.strip() == "Data and pipelines are up to date."
    # What DVC compares is the headline.
    metrics = json.loads(execute("dvc", "metrics", "show", "--json", folder=folder).stdout)[""]["data"]
    assert list(metrics) == ["reports/headline.json"]
    execute("git", "checkout", "HEAD~1", "--", ".dvcignore", folder=project)


@pytest.mark.slow
def test_a_table_of_odd_names_goes_through_the_whole_pipeline(project: Path, tmp_path: Path) -> None:
    """No name of a column, a category or a class is read as something else."""
    classes, (target, first, second, *numeric) = ["???", "${z}", "1e5", "$x^$"], ODD_NAMES
    categories = [name for name in ODD_NAMES if name not in NULL_VALUES]
    halves = {first: categories[::2], second: categories[1::2]}
    rows = range(2 * len(categories))
    table = {target: [classes[row % 4] for row in rows]}
    table |= {name: [half[row % len(half)] for row in rows] for name, half in halves.items()}
    table |= {name: [f"{row * (i + 3) % 7 + row % 4}.0" for row in rows] for i, name in enumerate(numeric)}
    write(tmp_path / "table.csv", table)
    options = ("--target", target, "--name", "1e5")
    execute("python", "src/init_dataset.py", str(tmp_path / "table.csv"), *options, folder=project)
    folder = project / "datasets/1e5"
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("max_epochs=50", "max_epochs=1"))
    assert "Test accuracy" in execute("make", "repro", "DATA=1e5", folder=project).stdout
    schema = read(folder / "data/processed/schema.json")
    assert sorted(schema["class_values"]) == sorted(classes)
    # The draft found blanks around values, which are then dropped.
    assert schema["numeric"] == [name.strip() for name in numeric]
    assert [feature["name"] for feature in schema["categorical"]] == [first, second]
    for feature in schema["categorical"]:
        assert {*feature["categories"]} == {name.strip() for name in halves[feature["name"]]}
    # Commands that take paths do the same outside the project, and leave only what they are asked for.
    run, elsewhere = f"run={folder}/models/trained", tmp_path / "my (other), folder"
    elsewhere.mkdir()
    raw = folder / "data/raw/rows, [1].csv"
    shutil.copy(folder / "data/raw/1e5.csv", raw)
    for script, *options in (
        ("evaluate", run, "output=scores"),
        ("export", run, "metrics=scores/metrics.json", "output=bundle"),
        ("predict", run, f"input={raw}", "output=by run.csv"),
        ("predict", "bundle=bundle", f"input={raw}", "output=by bundle.csv"),
    ):
        command = ("python", f"{project}/src/{script}.py", *options)
        execute("sh", "-c", 'cd "$0" && exec "$@"', str(elsewhere), *command, folder=folder)
    assert read(elsewhere / "scores/metrics.json") == read(folder / "reports/metrics.json")
    names = ("by run.csv", "by bundle.csv")
    predicted, again = (pd.read_csv(elsewhere / name)["label"].to_list() for name in names)
    assert predicted == again
    assert {path.name for path in elsewhere.iterdir()} == {"scores", "bundle", *names}
    # A run of an odd name, resumed by the command that its folder needs.
    options = ("experiment=mlp", "trainer=cpu", "name=695e0514")
    execute("python", "../../src/train.py", *options, "trainer.max_epochs=1", folder=folder)
    (named,) = (folder / "logs/train/runs").glob("*_695e0514")
    assert yaml.safe_load((named / "config.yaml").read_text())["name"] == "695e0514"
    odd = named.rename(named.with_name("1e5, [x] 'y'"))
    resume = shlex.split(write_command("train", resume=odd))[2:]
    execute("python", "../../src/train.py", *resume, "trainer.max_epochs=2", folder=folder)
    assert read(odd / "run.json")["training"]["epochs"] == 2

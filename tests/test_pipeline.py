"""The whole pipeline, run by DVC in a copy of the project on a small sample of the real table."""

import hashlib
import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from canopy.prepare.interim import SPLIT_COLUMN
from packages import ROOT, execute, served

pytestmark = pytest.mark.slow

COPIED = ("configs", "scripts", "src", "params.yaml", "dvc.yaml", ".dvcignore", ".gitignore", "tests/data")
STAGES = ["fetch", "explore", "drop_columns", "split", "normalize", "cap_classes", "make_tensors"]
STAGES += ["compose", "train", "evaluate", "baselines", "export", "compress"]
CAP = 300


class Project:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str) -> str:
        return execute(*command, folder=self.folder).stdout

    def repro(self) -> list[str]:
        return re.findall(r"Running stage '(\w+)'", self.run("dvc", "repro"))

    def json(self, path: str) -> dict:
        return json.loads((self.folder / path).read_text())

    def csv(self, stage: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / f"data/interim/{stage}.csv")

    def raw(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "data/raw/covtype.csv")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Serve the sample as the data set's home serves the whole table."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(ROOT / "tests" / "data"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, server: str, sample_csv: str, copy_project: Callable[..., None]
) -> Project:
    folder = tmp_path_factory.mktemp("project")
    copy_project(folder, *COPIED)
    params = OmegaConf.load(folder / "params.yaml")
    source = {"url": f"{server}/covertype.zip", "member": "covtype.data.gz", "has_header": False}
    params.fetch |= {"sha256": hashlib.sha256(sample_csv.encode()).hexdigest(), "sources": [source]}
    params.cap_classes.max_per_class = CAP
    params.explore.n_mutual_information_rows = 500
    params.train.overrides = "trainer=cpu trainer.max_epochs=3 model.net.hidden=[32] data.batch_size=128"
    OmegaConf.save(params, folder / "params.yaml")
    project = Project(folder)
    project.run("sh", "-c", "git init -q; dvc init -q; git config user.name a; git config user.email a@b")
    assert project.repro() == STAGES
    project.run("sh", "-c", "git add . && git commit --quiet --message Run")
    return project


def test_the_reports_have_their_form(project: Project) -> None:
    metrics = project.json("reports/metrics.json")
    assert list(metrics) == ["test", "val"]
    names = list(OmegaConf.load(ROOT / "params.yaml").table.target.classes.values())
    for scores in metrics.values():
        assert list(scores["per_class"]) == names
        assert sum(item["support"] for item in scores["per_class"].values()) == scores["n_rows"]
    train, cap = project.json("reports/train.json"), project.json("reports/class_cap.json")
    assert (train["epochs"], train["device"]) == (3, "cpu")
    assert (list(cap), sorted(cap["rows"])) == (["before", "after", "rows"], ["test", "train", "val"])
    assert cap["after"] == {name: min(n, CAP) for name, n in cap["before"].items()}
    assert max(cap["before"].values()) > CAP
    assert (project.folder / "reports/plots/confusion_matrix_test.png").read_bytes().startswith(b"\x89PNG")
    assert (project.folder / "reports/exploration/index.html").stat().st_size > 10_000


def test_each_row_is_in_one_split(project: Project) -> None:
    raw, kept = project.raw(), project.csv("drop_columns")
    numeric = [name for name in kept if name in raw]
    pd.testing.assert_frame_equal(kept[numeric], raw[numeric])
    assert [*kept] == [*numeric[:-1], "Wilderness_Area", "Soil_Type", "Cover_Type"]
    dropped = ["Soil_Type7", "Soil_Type8", "Soil_Type15", "Soil_Type36"]
    for group in ("Wilderness_Area", "Soil_Type"):
        members = raw[[name for name in raw if name.startswith(group)]].idxmax(axis=1)
        assert kept[group].tolist() == members.replace(dropped, "other").tolist()
    n_test = int(np.ceil(0.2 * len(raw)))
    n_val = int(np.ceil(0.2 * (len(raw) - n_test)))
    expected = {"train": len(raw) - n_test - n_val, "val": n_val, "test": n_test}
    assert project.csv("split")[SPLIT_COLUMN].value_counts().to_dict() == expected


def test_every_stage_logs_to_a_file_and_is_done_once(project: Project) -> None:
    for stage in STAGES:
        # Baselines are runs next to those of training.
        runs = "train/runs/*_baselines" if stage == "baselines" else f"{stage}/runs/*"
        (log,) = project.folder.glob(f"logs/{runs}/{stage}.log")
        assert re.search(r"^20\d\d-.* INFO +canopy\.", log.read_text(), re.MULTILINE), stage
    started = time.perf_counter()
    assert project.repro() == []
    assert time.perf_counter() - started < 5
    summary = project.run("python", "src/summarize.py")
    for text in ("Test accuracy", "Macro-F1", "Weakest class", "reports/evaluation/index.html"):
        assert text in summary


def test_the_bundle_gives_the_scores_of_the_report(project: Project) -> None:
    command = ["src/predict.py", "bundle=models/canopy", "input=data/raw/covtype.csv", "output=predicted.csv"]
    project.run("python", *command)
    tested = (project.csv("split")[SPLIT_COLUMN] == "test").to_numpy()
    is_right = pd.read_csv(project.folder / "predicted.csv")["label"] == project.raw()["Cover_Type"]
    metrics, about = project.json("reports/metrics.json"), project.json("models/canopy/model.json")
    assert is_right[tested].mean() == metrics["test"]["accuracy"]
    assert about["metrics"] == metrics
    assert about["table"]["columns"]["Aspect"]["range"] == [0, 360]
    (project.folder / "predicted.csv").unlink()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_examples_of_the_docs_work(project: Project) -> None:
    bundle, serving = (
        re.findall(r"```(bash|python)\n(.*?)```", (ROOT / f"docs/{name}.md").read_text(), re.DOTALL)
        for name in ("bundle", "serving")
    )
    (score,) = [text for kind, text in bundle if kind == "python"]
    assert re.search(r"^Lodgepole Pine +[01]\.\d{3}$", project.run("python", "-c", score), re.MULTILINE)
    project.raw().head(5).drop(columns="Cover_Type").to_csv(project.folder / "new.csv", index=False)
    with served(project.folder) as url:
        port = url.rpartition(":")[2]
        (curl,) = [text for _, text in serving if re.match("curl .*/predict -H", text)]
        (asked,) = [text for kind, text in serving if kind == "python"]
        answer = json.loads(project.run("bash", "-c", curl.replace("8000", port)))
        reported = project.run("python", "-c", asked.replace("8000", port)).strip()
        assert answer["predictions"][0]["class"] == reported
        readme = re.findall(r"^(curl .*?)(?:  +#.*)?$", (ROOT / "README.md").read_text(), re.MULTILINE)
        model, predicted = (project.run("bash", "-c", line.replace("8000", port)) for line in readme)
        assert json.loads(model)["table"]["target"]["column"] == "Cover_Type"
        assert predicted.startswith('"label","class",')
        assert predicted.count("\n") == 6
    (project.folder / "new.csv").unlink()


def test_a_change_reruns_what_it_affects(project: Project) -> None:
    unrelated = project.folder / "configs/experiment/unrelated.yaml"
    unrelated.write_text("# @package _global_\n")
    assert project.repro() == ["compose"]
    unrelated.unlink()
    done = project.run(
        *("dvc", "exp", "run", "--name", "smaller-cap"),
        *("-S", "cap_classes.max_per_class=200", "-S", "train.overrides='trainer.max_epochs=1'"),
    )
    assert re.findall(r"Running stage '(\w+)'", done) == STAGES[STAGES.index("cap_classes") :]
    assert project.json("reports/class_cap.json")["after"]["Spruce/Fir"] == 200
    assert project.json("reports/train.json")["epochs"] == 1
    assert re.search("test.accuracy.*smaller-cap", project.run("dvc", "exp", "show", "--csv"), re.DOTALL)
    for command in ("metrics show", "metrics diff", "plots show"):
        assert project.run("dvc", *command.split())
    project.run("git", "checkout", "--quiet", ".")
    project.run("dvc", "checkout", "--quiet")


def test_another_preparation_has_a_folder_of_its_own(project: Project) -> None:
    """The fourth area alone has the fourth class: no row of that class trains."""
    before = project.json("data/processed/schema.json")
    project.run("dvc", "checkout")
    project.run(
        *["python", "scripts/prepare.py", "preparation=new_wilderness", "split.column=Wilderness_Area4"]
    )
    assert project.json("data/processed/schema.json") == before
    folder = "data/preparations/new_wilderness/Wilderness_Area4"
    schema = project.json(f"{folder}/processed/schema.json")
    counts, n_left_out = schema["class_counts"], (project.raw()["Wilderness_Area4"] == 1).sum()
    assert sum(counts["test"]) == n_left_out
    assert counts["train"][3] == 0 < counts["test"][3]
    assert counts["train"] == counts["train_before_cap"]
    assert [feature["name"] for feature in schema["categorical"]] == ["Soil_Type"]
    train = ("preparation@pipeline=new_wilderness", "pipeline.split.column=Wilderness_Area4")
    quick = ("trainer=cpu", "trainer.max_epochs=1", "model.net.hidden=[8]", "run_folder=logs/left_out")
    project.run("python", "src/train.py", *train, *quick)
    project.run("python", "src/evaluate.py", "run=logs/left_out")
    scores = project.json("logs/left_out/evaluation/metrics.json")["test"]
    assert scores["n_rows"] == n_left_out
    assert scores["per_class"]["Cottonwood/Willow"]["recall"] == 0

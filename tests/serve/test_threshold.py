"""The threshold of two classes, from the evaluation of a run to the class that a server answers."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf
from playwright.sync_api import expect

from canopy.evaluation.decision import make_decider
from canopy.evaluation.evaluate import evaluate
from canopy.export.manifest import Manifest
from canopy.runs.run import METRICS, Run
from packages import ROOT, composed

GOAL = ("decision.goal=f_beta", "decision.beta=2")
QUIET = ("trainer=cpu", "trainer.enable_progress_bar=false", "callbacks.progress_bar=null")

pytestmark = pytest.mark.usefixtures("trusted_targets")


@pytest.fixture
def small_params(small_params: DictConfig) -> DictConfig:
    small_params.table.target.classes = {1: "Apple", 2: "Pear"}
    small_params.normalize.target = "z_score"
    return small_params


@pytest.fixture
def train_config(train_config: DictConfig) -> DictConfig:
    train_config.trainer.log_every_n_steps = 1
    return train_config


@pytest.fixture
def raw_table(raw_table: Path) -> Path:
    """Plums are pears, and fruits overlap."""
    lines = raw_table.read_text().splitlines()
    raw_table.write_text("\n".join([f"{line[:-1]}2" if line.endswith(",3") else line for line in lines]))
    return raw_table


def score(run: Run, *options: str) -> dict[str, Any]:
    evaluate(run, composed("evaluate", *QUIET, f"run={run.path}", f"run_folder={run.path}", *options))
    return json.loads((run.path / METRICS).read_text())


@pytest.fixture
def evaluated_run(trained_run: Run) -> Run:
    if not (trained_run.path / METRICS).is_file():
        score(trained_run, *GOAL)
    return trained_run


@pytest.mark.slow
def test_evaluation_keeps_the_threshold_of_the_validation_rows(
    trained_run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="canopy")
    found = score(trained_run, *GOAL, "explain=true", "explanation.n_rows=50", "explanation.n_curve_rows=20")
    chosen = found["val"]["decision"]
    assert chosen["goal"] == {"name": "f_beta", "beta": 2}
    assert f"val, threshold {chosen['threshold']:.4g} for f_beta (beta 2): precision" in caplog.text
    page = (trained_run.path / "evaluation/index.html").read_text()
    assert (
        f"From a calibrated probability of {chosen['threshold']:.4f} on, a row is predicted as Pear" in page
    )
    for split in ("val", "test"):
        kept = pd.read_parquet(trained_run.path / f"evaluation/predictions_{split}.parquet")
        odds = (kept["probability_1"] / kept["probability_0"]).astype(float)
        positive = odds ** (1 / found[split]["calibrated"]["temperature"])
        predicted, label = positive / (1 + positive) >= chosen["threshold"], kept["label"].to_numpy()
        counts = np.bincount(2 * label + predicted, minlength=4).tolist()
        assert [*found[split]["decision"]["confusion"].values()] == counts
        # Those of the whole model stay those of the likelier class.
        assert found[split]["accuracy"] == (kept["predicted"] == label).mean()
    # Test rows that are scored later have the same threshold; another one is not known.
    assert score(trained_run, "split=test") == found
    with pytest.raises(ValueError, match="chosen on validation rows; got f_beta .beta 3. and split=test"):
        score(trained_run, "split=test", "decision.goal=f_beta", "decision.beta=3")
    cost = score(trained_run, "split=val", "decision.goal=cost", "decision.cost_matrix={false_negative:9}")
    assert cost["val"]["decision"]["goal"]["cost_matrix"]["false_negative"] == 9
    assert "decision" not in cost["test"], "its threshold was another one"
    # Without a goal nothing is as if there were one.
    plain = score(trained_run)
    assert "decision" not in plain["val"]
    shared = {name: value for name, value in found["val"].items() if name != "decision"}
    assert plain["val"] == shared


def test_goal_is_that_of_the_project_unless_the_command_has_one(tmp_path: Path) -> None:
    task: Any = SimpleNamespace(kind="binary", n_outputs=2, schema=SimpleNamespace(target="kind"))
    pipeline = OmegaConf.create({"decision": {"goal": "recall_at_precision", "min_precision": 0.7}})
    run: Any = SimpleNamespace(project=tmp_path, config=SimpleNamespace(pipeline=pipeline))

    def goal_of(*options: str, **others: Any) -> Any:
        cfg = composed("evaluate", "run=none", *options)
        found = make_decider(cfg, run, **{"task": task, "earlier": {}, "splits": ("test", "val"), **others})
        return found and found.goal

    # Where there is no project, that of the run's config.
    assert goal_of() == {"name": "recall_at_precision", "min_precision": 0.7}
    params = OmegaConf.merge(
        OmegaConf.load(ROOT / "params.yaml"), {"decision": {"goal": "f_beta", "beta": 3}}
    )
    OmegaConf.save(params, tmp_path / "params.yaml")
    assert goal_of() == {"name": "f_beta", "beta": 3}
    assert goal_of("decision.beta=2") == {"name": "f_beta", "beta": 2}
    assert goal_of("decision.goal=argmax") is None
    assert goal_of("decision.goal=argmax", splits=("test",)) is None
    with pytest.raises(ValueError, match="got f_beta .beta 3. and split=test: score both splits first"):
        goal_of(splits=("test",))
    for kind, found in (("multiclass", "3 classes, kind"), ("regression", "a number, kind")):
        other = SimpleNamespace(kind=kind, n_outputs=3, schema=task.schema)
        with pytest.raises(ValueError, match=f"has not two classes; got f_beta and {found}"):
            goal_of(task=other)


@pytest.mark.slow
def test_slider_changes_the_classes_that_are_shown(
    server: Any, bundle: Path, visit: Any, tmp_path: Path
) -> None:
    own = Manifest.load(bundle).decision["threshold"]
    page = visit(server.url)
    slider, verdict = page.get_by_label("Threshold of Pear"), page.locator("#verdict")
    expect(page.locator("#threshold-note")).to_contain_text(f"{100 * own:.1f} %, chosen on validation rows")
    expect(verdict).not_to_be_empty()
    model_s = verdict.inner_text()
    path = tmp_path / "rows.csv"
    rows = [f"{weight},9,0,1,0" for weight in range(60, 100)]
    path.write_text("\n".join(["weight,size,colour1,colour2,colour3", *rows]))
    page.locator("#file").set_input_files(path)
    expect(page.locator("#batch-counts .value")).to_have_count(2)
    counts = page.locator("#batch-counts .value").all_inner_texts()
    answer = pd.read_csv(page_download(page))
    likely = (answer["class"] == "Pear").mean()
    assert counts[1] == f"{100 * likely:.1f} %"
    for chosen, shown in ((0, "Pear"), (1, "Apple")):
        slider.fill(str(chosen))
        expect(verdict).to_contain_text(shown)
        expect(page.locator("#probabilities li.best .name")).to_have_text(shown)
    middle = float(answer["probability_Pear"].median())
    slider.fill(f"{middle:.12f}")
    share = (answer["probability_Pear"] >= float(slider.input_value())).mean()
    expect(page.locator("#batch-counts .value").last).to_have_text(f"{100 * share:.1f} %")
    page.get_by_role("button", name="Reset the threshold").click()
    expect(verdict).to_have_text(model_s)
    expect(page.locator("#batch-counts .value")).to_have_text(counts)


def page_download(page: Any) -> Path:
    with page.expect_download() as download:
        page.get_by_text("Download the predictions").click()
    return Path(download.value.path())


@pytest.mark.slow
def test_commands_predict_by_the_threshold(
    evaluated_run: Run, start_command: Any, raw_table: Path, tmp_path: Path
) -> None:
    def call(script: str, *options: object) -> str:
        words = [sys.executable, f"src/{script}.py", *map(str, options), f"hydra.run.dir={tmp_path / 'log'}"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    run, bundle = f"run={evaluated_run.path}", tmp_path / "bundle"
    costs = "decision.cost_matrix={false_positive:20,false_negative:1}"
    assert " for cost (false positive 20, false negative 1): " in call(
        "evaluate", run, "decision.goal=cost", costs
    )
    call("export", run, f"output={bundle}")
    decision = Manifest.load(bundle).decision
    assert decision["goal"]["cost_matrix"]["false_positive"] == 20
    scores = json.loads((evaluated_run.path / METRICS).read_text())
    assert decision["threshold"] == scores["val"]["decision"]["threshold"]
    found = {}
    for name, source in (("run", run), ("bundle", f"bundle={bundle}")):
        assert "Predicting Pear from" in call(
            "predict", source, f"input={raw_table}", f"output={tmp_path / name}.csv"
        )
        found[name] = pd.read_csv(tmp_path / f"{name}.csv")
    assert found["run"]["class"].tolist() == found["bundle"]["class"].tolist()
    small, quick = tmp_path / "small", ("distil.epochs=1", "prune.epochs=1", "compress.max_nll_increase=9")
    places = (f"bundle={bundle}", f"output={small}", f"report={tmp_path}/r.json", f"plot={tmp_path}/p.png")
    call("compress", run, *places, *quick, "compress.max_accuracy_drop=1")
    compressed = Manifest.load(small)
    assert compressed.compression["variant"] != "whole"
    assert compressed.decision["goal"] == decision["goal"]
    assert compressed.metrics["test"]["decision"]["threshold"] == compressed.decision["threshold"]
    by_threshold = found["bundle"]["probability_Pear"] >= decision["threshold"]
    assert ((found["bundle"]["class"] == "Pear") == by_threshold).all()
    assert (by_threshold != (found["bundle"]["probability_Pear"] > 0.5)).any(), "the costs move the threshold"
    call(
        "predict",
        f"bundle={bundle}",
        "threshold=0.2",
        f"input={raw_table}",
        f"output={tmp_path / 'other.csv'}",
    )
    other = pd.read_csv(tmp_path / "other.csv")
    assert ((other["class"] == "Pear") == (other["probability_Pear"] >= 0.2)).all()
    command = [
        sys.executable,
        "src/serve.py",
        f"bundle={bundle}",
        "port={port}",
        f"hydra.run.dir={tmp_path}/s",
    ]
    with start_command(*command) as server:
        assert server.get("/model").json()["decision"] == decision
        answer = server.post("/predict/csv", raw_table.read_bytes())
        assert [line.split(",")[1] for line in answer.text.splitlines()[1:]] == [
            f'"{name}"' for name in found["bundle"]["class"]
        ]
        right = int((found["bundle"]["label"] == pd.read_csv(raw_table)["kind"]).sum())
        assert answer.headers["X-Correct-Rows"] == str(right)

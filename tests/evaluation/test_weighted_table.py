"""Tables with a column of weights, by command: from the raw table to predictions."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as sk

from canopy.prepare.interim import SPLIT_COLUMN
from canopy.training.checkpoint import load_checkpoint
from packages import execute

N_ROWS = 600
STAGES = ("fetch", "drop_columns", "split", "normalize", "cap_classes", "make_tensors", "explore")
QUIET = ("trainer=cpu", "trainer.enable_progress_bar=false", "callbacks.progress_bar=null")


def draw_table(target_kind: str) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    a, b = generator.standard_normal((2, N_ROWS)).round(4)
    colour = generator.choice(["red", "green", "blue"], N_ROWS)
    score = a + b * (colour == "red") + 0.3 * generator.standard_normal(N_ROWS)
    y = np.where(score > 0.5, "yes", "no") if target_kind == "categorical" else score.round(4)
    return pd.DataFrame({"a": a, "b": b, "colour": colour, "times": generator.integers(0, 3, N_ROWS), "y": y})


@pytest.mark.slow
@pytest.mark.parametrize("target_kind", ["categorical", "numeric"])
def test_a_weighted_table_goes_through_every_command(
    tmp_path: Path, copy_project: Callable[..., None], target_kind: str
) -> None:
    copy_project(tmp_path, "configs", "scripts", "src", "params.yaml")
    (tmp_path / "datasets").mkdir()
    table = draw_table(target_kind)
    table.to_csv(tmp_path / "x.csv", index=False)
    drafting = ("src/init_dataset.py", "x.csv", "--target", "y", "--target-kind", target_kind)
    execute("python", *drafting, folder=tmp_path)
    folder = tmp_path / "datasets/x"
    params = (folder / "params.yaml").read_text().splitlines()
    changed = ['    "times": {kind: weight}' if '"times": {kind: ' in line else line for line in params]
    assert changed != params
    (folder / "params.yaml").write_text("\n".join(changed))

    def run(command: str, *options: str) -> None:
        execute("python", f"../../{command}.py", *options, folder=folder)

    for stage in STAGES:
        run(f"scripts/{stage}")
    training = ("experiment=mlp", "trainer.max_epochs=3", "data.batch_size=32", "run_folder=run")
    run("src/train", *QUIET, *training)
    run("src/evaluate", "run=run", "trainer=cpu", "explain=true")
    run("src/export", "run=run", "output=bundle", "metrics=run/evaluation/metrics.json")
    run("src/baselines", "models=[constant,random_forest]", "report=null")
    # Weights of 0 leave rows out of the scores, others repeat them.
    for split in ("val", "test"):
        scores = json.loads((folder / "run/evaluation/metrics.json").read_text())[split]
        rows = pd.read_parquet(folder / f"run/evaluation/predictions_{split}.parquet")
        assert scores["n_rows"] == len(rows)
        rows = rows.loc[rows.index.repeat(rows.weight.astype(int))]
        pair = rows.label, rows.predicted
        if target_kind == "numeric":
            expected = {"rmse": sk.root_mean_squared_error(*pair), "r2": sk.r2_score(*pair)}
        else:
            of_positive = rows.label, rows.probability_1
            expected = {"auc": sk.roc_auc_score(*of_positive), "nll": sk.log_loss(*of_positive)}
            expected["accuracy"] = sk.accuracy_score(*pair)
        assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-5)
    if target_kind == "categorical":
        predict_to_a_folder(folder)
        compare_numbers_of_processes(folder)
    # The bundle describes the training rows by their weights, and predicts rows without any.
    normalized = pd.read_csv(folder / "data/interim/normalize.csv")
    train = table[normalized[SPLIT_COLUMN] == "train"]
    described = json.loads((folder / "bundle/model.json").read_text())["training"]
    of_red = train.times[train.colour == "red"].sum() / train.times.sum()
    assert described["categories"]["colour"]["red"] == pytest.approx(of_red)
    assert described["numeric"]["a"]["mean"] == pytest.approx(np.average(train.a, weights=train.times))
    for name, given in (("with", table.assign(times="any")), ("without", table.drop(columns="times"))):
        given.to_csv(folder / "new.csv", index=False)
        run("src/predict", "bundle=bundle", "input=new.csv", f"output={name}.csv")
    assert (folder / "with.csv").read_text() == (folder / "without.csv").read_text()
    assert len(pd.read_csv(folder / "with.csv")) == N_ROWS


def predict_to_a_folder(folder: Path) -> None:
    """A folder of predictions has one threshold, though the run gets another one."""
    words = ("python", "../../src/predict.py", "run=run", "input=data/raw", "output=folder/")
    execute(*words, folder=folder)
    execute(
        "python", "../../src/evaluate.py", "run=run", "trainer=cpu", "decision.goal=f_beta", folder=folder
    )
    done = execute(*words, folder=folder, check=False)
    assert "predictions of the same model and options; got those of another threshold" in done.stderr


def compare_numbers_of_processes(folder: Path) -> None:
    """A step of two processes is that of one with as many rows, whatever these weigh."""
    options = ("experiment=mlp", "refit=false", "trainer.max_epochs=1", "model.net.dropout=0")
    # Windows, whose order does not depend on the processes.
    options += ("model/optimizer=adamw", "model.class_weights=balanced", "data.memory_mib=1")
    weights = []
    for name, trainer, n_rows in (("one", "cpu", 32), ("two", "ddp_sim", 16)):
        given = (*QUIET, *options, f"trainer={trainer}", f"data.batch_size={n_rows}", f"run_folder={name}")
        execute("python", "../../src/train.py", *given, folder=folder)
        weights.append(load_checkpoint(folder / name / "checkpoints/best.ckpt")["state_dict"])
    torch.testing.assert_close(*weights, atol=1e-4, rtol=0)

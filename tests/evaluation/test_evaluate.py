import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig

from canopy.evaluation.evaluate import evaluate, evaluate_all
from canopy.runs.fit import fit
from canopy.runs.run import Run
from canopy.schema.tensors import SCHEMA_FILE, Schema
from canopy.tasks.calibration import fit_temperature
from packages import composed

pytestmark = pytest.mark.usefixtures("trusted_targets")


@pytest.fixture
def run(train_config: DictConfig) -> Path:
    fit(train_config)
    return Path(train_config.run_folder)


@pytest.fixture
def evaluate_config(run: Path, tmp_path: Path) -> DictConfig:
    places = (f"run={run}", f"output={tmp_path / 'reports'}", f"run_folder={tmp_path / 'evaluation'}")
    quiet = ("trainer=cpu", "trainer.enable_progress_bar=false", "callbacks.progress_bar=null")
    return composed("evaluate", *quiet, *places)


def change_hash(tensors: Path, name: str) -> None:
    schema = Schema.load(tensors / SCHEMA_FILE)
    schema.sha256[name] = "0" * 64
    schema.save(tensors / SCHEMA_FILE)


def test_evaluate_scores_both_splits_and_keeps_predictions(
    evaluate_config: DictConfig, run: Path, tensors: Path, tmp_path: Path
) -> None:
    # Training rows do not matter.
    change_hash(tensors, "train/00000.pt")
    report = evaluate(Run(run), evaluate_config)
    reports = tmp_path / "reports"
    assert json.loads((reports / "metrics.json").read_text()) == report
    assert (reports / "confusion_matrix_test.png").read_bytes().startswith(b"\x89PNG")
    # The scores are those of the best epoch.
    logged = pd.read_csv(run / "csv/metrics.csv")
    assert report["val"]["accuracy"] == pytest.approx(logged["val/accuracy"].max(), abs=1e-6)
    assert report["val"]["calibrated"]["nll"] <= report["val"]["nll"]
    for split, n_rows in (("val", 60), ("test", 90)):
        kept = pd.read_parquet(reports / f"predictions_{split}.parquet")
        assert list(kept) == ["label", "predicted", "probability_0", "probability_1", "probability_2"]
        assert kept["label"].tolist() == [row % 3 for row in range(n_rows)]
        assert (kept["label"] == kept["predicted"]).mean() == report[split]["accuracy"]
        probabilities = kept.filter(like="probability").to_numpy(np.float64)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
        if split == "val":
            temperature = fit_temperature(probabilities, kept["label"].to_numpy())
        assert report[split]["calibrated"]["temperature"] == pytest.approx(temperature)
    change_hash(tensors, "val/00001.pt")
    with pytest.raises(
        ValueError, match=r"trained on data whose val/00001.pt has the SHA-256 None.*; found 000"
    ):
        evaluate(Run(run), evaluate_config)
    change_hash(tensors, "test/00000.pt")
    with pytest.raises(
        ValueError, match=r"trained on data whose test/00000.pt has the SHA-256 .*; found 000000"
    ):
        evaluate(Run(run), evaluate_config)
    evaluate_config.split = "train"
    with pytest.raises(ValueError, match="one of \\['test', 'val'\\], or null for both; found 'train'"):
        evaluate(Run(run), evaluate_config)


def test_split_scored_later_joins_the_scores_of_the_run(
    evaluate_config: DictConfig, run: Path, train_config: DictConfig, tensors: Path
) -> None:
    scores = evaluate(Run(run), evaluate_config)
    evaluate_config.split = "test"
    hidden = (tensors / "val/00000.pt").rename(tensors / "hidden")
    report = evaluate(Run(run), evaluate_config)
    # Elsewhere than in the run's folder, scores may be of another run.
    assert json.loads(Path(evaluate_config.output, "metrics.json").read_text()) == report
    assert [*report] == ["test"]
    assert "calibrated" not in report["test"], "the temperature is fitted on validation rows"
    hidden.rename(tensors / "val/00000.pt")
    evaluate_config.output = "${run}/evaluation"
    kept = run / "evaluation/metrics.json"
    for split, expected in (("val", ["val"]), ("test", ["val", "test"])):
        evaluate_config.split = split
        evaluate(Run(run), evaluate_config)
        assert json.loads(kept.read_text()) == {name: scores[name] for name in expected}
        headline = json.loads(kept.with_name("headline.json").read_text())
        assert headline.pop("train_seconds") == Run(run).record["training"]["train_seconds"]
        shown = ("accuracy", "macro_f1", "nll", "ece")
        assert headline == {name: {score: scores[name][score] for score in shown} for name in expected}
    kinds = ("calibration_{}.png", "confusion_matrix_{}.png", "curves_{}.png", "predictions_{}.parquet")
    names = {kind.format(split) for kind in kinds for split in ("test", "val")}
    assert {path.name for path in kept.parent.iterdir()} == {*names, "headline.json", "metrics.json"}
    # A resumed run has other scores.
    train_config.resume = str(run)
    fit(train_config, overrides=["trainer.max_epochs=3"])
    assert not kept.parent.exists()


def test_evaluate_all_scores_each_run_of_a_folder(
    evaluate_config: DictConfig, run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    several = tmp_path / "several"
    for name in ("0_a", "1_b", "2_unfinished"):
        shutil.copytree(run, several / name)
    (several / "2_unfinished/checkpoints/best.ckpt").unlink()
    evaluate_config.run = str(several)
    with pytest.raises(ValueError, match="output must be left to each of the 3 runs in .*: leave it out"):
        evaluate_all(evaluate_config)
    evaluate_config.output = "${run}/evaluation"
    evaluate_all(evaluate_config)
    scored = sorted(str(path.relative_to(several)) for path in several.rglob("metrics.json"))
    assert scored == ["0_a/evaluation/metrics.json", "1_b/evaluation/metrics.json"]
    assert f"Left out {several}/2_unfinished, which has no best checkpoint yet" in caplog.text

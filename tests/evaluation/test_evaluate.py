import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from canopy.evaluation.evaluate import evaluate, evaluate_all
from canopy.runs.fit import fit
from canopy.runs.run import Run
from canopy.schema.tensors import SCHEMA_FILE, Schema
from canopy.tasks.calibration import fit_temperature

pytestmark = pytest.mark.usefixtures("trusted_targets")


@pytest.fixture
def run(train_config: DictConfig) -> Path:
    folder = Path(train_config.run_folder)
    fit(train_config)
    return folder


@pytest.fixture
def evaluate_config(run: Path, root: Path, tmp_path: Path) -> DictConfig:
    with initialize_config_dir(str(root / "configs"), job_name="evaluate"):
        return compose(
            "evaluate",
            [
                f"run={run}",
                f"output={tmp_path / 'reports'}",
                f"run_folder={tmp_path / 'evaluation'}",
                "trainer=cpu",
                "trainer.enable_progress_bar=false",
                "callbacks.progress_bar=null",
            ],
        )


def test_evaluate_scores_both_splits(evaluate_config: DictConfig, run: Path, tmp_path: Path) -> None:
    report = evaluate(Run(run), evaluate_config)
    assert json.loads((tmp_path / "reports/metrics.json").read_text()) == report
    assert (report["test"]["n_rows"], report["val"]["n_rows"]) == (90, 60)
    assert (tmp_path / "reports/confusion_matrix_test.png").read_bytes().startswith(b"\x89PNG")
    # The scores are those of the best epoch.
    logged = (run / "csv/metrics.csv").read_text().splitlines()
    column = logged[0].split(",").index("val/accuracy")
    best = max(float(line.split(",")[column] or 0) for line in logged[1:])
    assert report["val"]["accuracy"] == pytest.approx(best, abs=1e-6)


def test_evaluate_keeps_predictions(
    evaluate_config: DictConfig, run: Path, tensors: Path, tmp_path: Path
) -> None:
    report = evaluate(Run(run), evaluate_config)
    for split, n_rows in (("test", 90), ("val", 60)):
        kept = pd.read_parquet(tmp_path / f"reports/predictions_{split}.parquet")
        assert list(kept) == ["label", "predicted", "probability_0", "probability_1", "probability_2"]
        assert kept["label"].tolist() == [row % 3 for row in range(n_rows)]
        assert (kept["label"] == kept["predicted"]).mean() == report[split]["accuracy"]
        np.testing.assert_allclose(kept.filter(like="probability").sum(axis=1), 1, rtol=1e-6)


def test_evaluate_scores_one_split(evaluate_config: DictConfig, run: Path, tensors: Path) -> None:
    evaluate_config.split = "val"
    (tensors / "test.pt").unlink()
    assert list(evaluate(Run(run), evaluate_config)) == ["val"]
    evaluate_config.split = "train"
    with pytest.raises(ValueError, match="one of \\['test', 'val'\\], or null for both; found 'train'"):
        evaluate(Run(run), evaluate_config)


def test_evaluate_refuses_other_data(evaluate_config: DictConfig, run: Path, tensors: Path) -> None:
    schema = Schema.load(tensors / SCHEMA_FILE)
    schema.sha256["test.pt"] = "0" * 64
    schema.save(tensors / SCHEMA_FILE)
    with pytest.raises(ValueError, match=r"trained on data whose test.pt has the SHA-256 .*; found 000000"):
        evaluate(Run(run), evaluate_config)


def test_evaluate_ignores_other_training_rows(evaluate_config: DictConfig, run: Path, tensors: Path) -> None:
    schema = Schema.load(tensors / SCHEMA_FILE)
    schema.sha256["train.pt"] = "0" * 64
    schema.save(tensors / SCHEMA_FILE)
    assert evaluate(Run(run), evaluate_config)["test"]["n_rows"] == 90


def test_split_scored_later_joins_the_scores_of_the_run(evaluate_config: DictConfig, run: Path) -> None:
    scores = evaluate(Run(run), evaluate_config)
    evaluate_config.output = "${run}/evaluation"
    kept = run / "evaluation/metrics.json"
    for split, expected in (("val", ["val"]), ("test", ["val", "test"])):
        evaluate_config.split = split
        evaluate(Run(run), evaluate_config)
        assert json.loads(kept.read_text()) == {name: scores[name] for name in expected}
        headline = json.loads(kept.with_name("headline.json").read_text())
        assert headline == {
            **{
                name: {score: scores[name][score] for score in ("accuracy", "macro_f1", "nll", "ece")}
                for name in expected
            },
            "train_seconds": Run(run).record["training"]["train_seconds"],
        }
    assert sorted(path.name for path in kept.parent.iterdir()) == [
        *("calibration_test.png", "calibration_val.png"),
        *("confusion_matrix_test.png", "confusion_matrix_val.png", "headline.json", "metrics.json"),
        *("predictions_test.parquet", "predictions_val.parquet"),
    ]


def test_output_elsewhere_keeps_no_scores_of_other_runs(
    evaluate_config: DictConfig, run: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "reports/metrics.json"
    kept.parent.mkdir()
    kept.write_text('{"test": "of another run"}')
    evaluate_config.split = "val"
    evaluate(Run(run), evaluate_config)
    assert list(json.loads(kept.read_text())) == ["val"]


def test_resume_removes_scores(evaluate_config: DictConfig, run: Path, train_config: DictConfig) -> None:
    evaluate_config.output = "${run}/evaluation"
    evaluate(Run(run), evaluate_config)
    train_config.resume = str(run)
    fit(train_config, overrides=["trainer.max_epochs=3"])
    assert not (run / "evaluation").exists()


def test_evaluate_all_scores_each_run_of_a_folder(
    evaluate_config: DictConfig, run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    several = tmp_path / "several"
    for name in ("0_a", "1_b", "2_unfinished"):
        shutil.copytree(run, several / name)
    (several / "2_unfinished/checkpoints/best.ckpt").unlink()
    evaluate_config.run = str(several)
    with pytest.raises(ValueError, match="output must be left to each of several runs; found .*: leave it"):
        evaluate_all(evaluate_config)
    evaluate_config.output = "${run}/evaluation"
    evaluate_all(evaluate_config)
    scored = sorted(str(path.relative_to(several)) for path in several.rglob("metrics.json"))
    assert scored == ["0_a/evaluation/metrics.json", "1_b/evaluation/metrics.json"]
    assert f"Left out {several}/2_unfinished, which has no best checkpoint yet" in caplog.text


def test_temperature_is_fitted_on_validation_rows(evaluate_config: DictConfig, run: Path) -> None:
    report = evaluate(Run(run), evaluate_config)
    predicted = pd.read_parquet(Path(evaluate_config.output) / "predictions_val.parquet")
    probabilities = predicted.filter(like="probability_").to_numpy(np.float64)
    temperature = fit_temperature(probabilities, predicted["label"].to_numpy())
    for split in ("val", "test"):
        assert report[split]["calibrated"]["temperature"] == pytest.approx(temperature)
    assert report["val"]["calibrated"]["nll"] <= report["val"]["nll"]


def test_evaluate_without_validation_rows_has_no_temperature(evaluate_config: DictConfig, run: Path) -> None:
    evaluate_config.split = "test"
    assert "calibrated" not in evaluate(Run(run), evaluate_config)["test"]

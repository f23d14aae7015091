import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from canopy.data.schema import SCHEMA_FILE, Schema
from canopy.evaluation.evaluate import evaluate
from canopy.training.fit import fit
from canopy.training.run_folder import RunFolder

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


def test_a_run_is_scored_on_both_splits(evaluate_config: DictConfig, run: Path, tmp_path: Path) -> None:
    report = evaluate(RunFolder(run), evaluate_config)
    assert json.loads((tmp_path / "reports/metrics.json").read_text()) == report
    assert (report["test"]["n_rows"], report["val"]["n_rows"]) == (90, 60)
    assert (tmp_path / "reports/confusion_matrix.png").read_bytes().startswith(b"\x89PNG")
    # The scores are those of the best epoch.
    logged = (run / "csv/metrics.csv").read_text().splitlines()
    column = logged[0].split(",").index("val/accuracy")
    best = max(float(line.split(",")[column] or 0) for line in logged[1:])
    assert report["val"]["accuracy"] == pytest.approx(best, abs=1e-6)


def test_the_predictions_are_kept(
    evaluate_config: DictConfig, run: Path, tensors: Path, tmp_path: Path
) -> None:
    report = evaluate(RunFolder(run), evaluate_config)
    for split, n_rows in (("test", 90), ("val", 60)):
        kept = pd.read_parquet(tmp_path / f"reports/predictions_{split}.parquet")
        assert list(kept) == ["label", "predicted", "probability_0", "probability_1", "probability_2"]
        assert kept["label"].tolist() == [row % 3 for row in range(n_rows)]
        assert (kept["label"] == kept["predicted"]).mean() == report[split]["accuracy"]
        np.testing.assert_allclose(kept.filter(like="probability").sum(axis=1), 1, rtol=1e-6)


def test_one_split_can_be_asked_for(evaluate_config: DictConfig, run: Path, tensors: Path) -> None:
    evaluate_config.split = "val"
    (tensors / "test.pt").unlink()
    assert list(evaluate(RunFolder(run), evaluate_config)) == ["val"]
    evaluate_config.split = "train"
    with pytest.raises(ValueError, match="one of \\['test', 'val'\\], or null for both; found 'train'"):
        evaluate(RunFolder(run), evaluate_config)


def test_other_data_is_refused(evaluate_config: DictConfig, run: Path, tensors: Path) -> None:
    schema = Schema.load(tensors / SCHEMA_FILE)
    schema.sha256["test.pt"] = "0" * 64
    schema.save(tensors / SCHEMA_FILE)
    with pytest.raises(ValueError, match=r"trained on data whose test.pt has the SHA-256 .*; found 000000"):
        evaluate(RunFolder(run), evaluate_config)


def test_other_training_rows_do_not_matter(evaluate_config: DictConfig, run: Path, tensors: Path) -> None:
    schema = Schema.load(tensors / SCHEMA_FILE)
    schema.sha256["train.pt"] = "0" * 64
    schema.save(tensors / SCHEMA_FILE)
    assert evaluate(RunFolder(run), evaluate_config)["test"]["n_rows"] == 90

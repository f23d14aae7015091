"""What the folds say together: each row once, scores of folds and of all rows, two side by side."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig
from scipy import stats
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from canopy.compare.folds import compare_folds, corrected_t_test, write_folds_report
from canopy.cross_validation.results import write_table
from canopy.files import read_json
from canopy.prepare.interim import kept_schema, kept_types, read_rows
from canopy.runs.find import CROSS_VALIDATION, OUT_OF_FOLD, find_cross_validation, find_runs
from canopy.runs.run import Run

Prepare = Callable[..., tuple[Path, list[DictConfig]]]
MakeUp = Callable[..., list[Run]]


def read(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    return pd.read_parquet(folder / OUT_OF_FOLD), read_json(folder / CROSS_VALIDATION)


@pytest.mark.parametrize(
    ("n_folds", "split"),
    [(3, {}), (4, {"method": "time", "column": "weight"}), (2, {"method": "hash", "column": "size"})],
)
def test_each_tested_row_is_predicted_once(
    n_folds: int,
    split: dict[str, str],
    prepared: Prepare,
    made_up: MakeUp,
    small_params: DictConfig,
    tmp_path: Path,
) -> None:
    home, folds = prepared(n_folds, **split)
    made_up(tmp_path / "cv", folds, right=0.9)
    rows, results = (
        pd.read_parquet(tmp_path / "cv" / OUT_OF_FOLD),
        read_json(tmp_path / "cv" / CROSS_VALIDATION),
    )
    assert rows["row"].is_monotonic_increasing
    assert rows["row"].is_unique
    types = kept_types(kept_schema(small_params))
    table = pd.concat([batch.to_pandas() for batch in read_rows(home / "table/drop_columns.csv", types)])
    labels = table["kind"].to_numpy().astype(int) - 1
    assert np.array_equal(rows["label"], labels[rows["row"]])
    assert results["n_rows"] + results["n_untested_rows"] == len(labels) == 300
    if split.get("method") == "time":
        assert results["n_untested_rows"] == 60, "the first of five blocks never tests"
        weights = table["weight"].to_numpy()[rows["row"]]
        assert weights[rows["fold"] == 0].max() <= weights[rows["fold"] == 1].min()
    else:
        assert results["n_untested_rows"] == 0


def test_scores_are_those_of_folds_and_of_all_rows(
    prepared: Prepare, made_up: MakeUp, tmp_path: Path
) -> None:
    _, folds = prepared(3)
    runs = made_up(tmp_path / "cv", folds, right=0.8)
    results, rows = (
        read_json(tmp_path / "cv" / CROSS_VALIDATION),
        pd.read_parquet(tmp_path / "cv" / OUT_OF_FOLD),
    )
    accuracy = results["metrics"]["accuracy"]
    own = [accuracy_score(part["label"], part["predicted"]) for _, part in rows.groupby("fold")]
    assert accuracy["folds"] == pytest.approx(own) == [run.metrics["test"]["accuracy"] for run in runs]
    low, high = stats.t.interval(0.95, 2, np.mean(own), stats.sem(own))
    expected = [3, np.mean(own), np.std(own, ddof=1), low, high]
    assert [accuracy[key] for key in ("n", "mean", "sd", "low", "high")] == pytest.approx(expected)
    probabilities = rows[[f"probability_{k}" for k in range(3)]].to_numpy().astype(float)
    whole = results["out_of_fold"]
    assert whole["accuracy"] == pytest.approx(accuracy_score(rows["label"], rows["predicted"]))
    assert whole["nll"] == pytest.approx(-np.log(probabilities[np.arange(300), rows["label"]]).mean())
    exact = probabilities / probabilities.sum(axis=1, keepdims=True)
    assert whole["auc"] == pytest.approx(roc_auc_score(rows["label"], exact, multi_class="ovr"), abs=1e-6)
    # With a temperature of 2.
    softened = np.sqrt(probabilities) / np.sqrt(probabilities).sum(axis=1, keepdims=True)
    assert whole["calibrated"]["nll"] == pytest.approx(log_loss(rows["label"], softened))
    text = write_table(results)
    assert text.startswith("3 folds, 300 rows\n\nmetric")
    assert "per_class" not in text


def test_keys_of_the_table_come_first(
    prepared: Prepare, made_up: MakeUp, small_params: DictConfig, tmp_path: Path
) -> None:
    raw = Path(small_params.paths.raw)
    head, *lines = raw.read_text().splitlines()
    raw.write_text("\n".join([f"row,{head}", *(f"r{i},{line}" for i, line in enumerate(lines)), ""]))
    small_params.table.columns["row"] = {"kind": "key"}
    _, folds = prepared(3)
    made_up(tmp_path / "cv", folds, right=1.0)
    rows = pd.read_parquet(tmp_path / "cv" / OUT_OF_FOLD)
    assert [*rows.columns[:4]] == ["row (key)", "fold", "row", "label"]
    assert [*rows["row (key)"]] == [f"r{i}" for i in rows["row"]]


@pytest.mark.parametrize("seed", range(5))
def test_corrected_t_test_is_that_of_paired_differences_with_a_larger_variance(seed: int) -> None:
    a, b = np.random.default_rng(seed).normal(size=(2, 7))
    plain = stats.ttest_rel(b, a)
    found, p = corrected_t_test(b - a, ratio=0.0)
    assert p == pytest.approx(plain.pvalue)
    assert [found.low, found.high] == pytest.approx([*plain.confidence_interval(0.95)])
    wider, larger = corrected_t_test(b - a, ratio=1 / 6)
    assert wider.difference == found.difference
    assert (wider.high - wider.low) / (found.high - found.low) == pytest.approx(np.sqrt((1 / 7 + 1 / 6) * 7))
    assert larger == pytest.approx(2 * stats.t.sf(abs(plain.statistic) / np.sqrt((1 / 7 + 1 / 6) * 7), 6))
    assert corrected_t_test(np.zeros(3), ratio=0.5)[1] == 1


def test_two_cross_validations_are_compared_by_fold_and_by_row(
    prepared: Prepare, made_up: MakeUp, tmp_path: Path
) -> None:
    _, folds = prepared(3)
    a, b, c, d = (tmp_path / name for name in "abcd")
    made_up(a, folds, right=0.6)
    made_up(b, folds, right=0.99, seed=1)
    found = compare_folds(a, b)
    assert found["metrics"]["accuracy"]["better"] == found["metrics"]["nll"]["better"] == "B"
    assert found["metrics"]["nll"]["difference"] < 0
    assert found["verdict"].startswith("B is better than A")
    assert found["significance"]["n_rows"] == 300
    for text in ("corrected resampled t-test", "The same config, code", "accuracy", "B is better than A"):
        assert text in write_folds_report(found)
    back = compare_folds(b, a)["metrics"]["accuracy"]
    assert [back["difference"], back["better"]] == [-found["metrics"]["accuracy"]["difference"], "A"]
    made_up(c, prepared(2)[1], right=0.9)
    with pytest.raises(ValueError, match="same rows in the same folds to be compared; got another fold in"):
        compare_folds(a, c)
    made_up(d, prepared(3, val_size=0.3)[1], right=0.9)
    assert compare_folds(a, d)["n_folds"] == 3, "other validation rows are another way to train"


def test_folds_are_listed_by_their_folder_and_not_among_training_runs(
    prepared: Prepare, made_up: MakeUp, tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    (logs / "train").mkdir(parents=True)
    folder = logs / "cross_validate/runs/a"
    made_up(folder, prepared(3)[1], right=0.9)
    assert find_runs([], logs=logs) == []
    assert sorted(run.path.name for run in find_runs([folder], logs=logs)) == ["fold_0", "fold_1", "fold_2"]
    assert find_cross_validation("a", logs=logs) == folder
    assert find_cross_validation("b", logs=logs) is None

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from canopy.evaluation.inference import Predictor
from canopy.export.export import compare
from canopy.export.manifest import FILES, MANIFEST_FILE, Manifest
from canopy.export.model_card import CARD_FILE
from canopy.export.scorer import Scorer
from canopy.files import PREPROCESSOR_FILE, read_json, write_json
from canopy.prepare.interim import SPLIT_COLUMN
from canopy.prepare.preprocessor import Preprocessor
from canopy.runs.run import METRICS, Run
from canopy.schema import TableSchema
from canopy.serve.explain import Explainer
from canopy.tables.rows import read_table
from schemas import class_task

pytestmark = pytest.mark.usefixtures("trusted_targets")

Export = Callable[..., Path]


@pytest.fixture
def splits(raw_table: Path, small_params: DictConfig, trained_run: Run) -> np.ndarray:
    return pyarrow.csv.read_csv(f"{small_params.paths.interim}/split.csv")[SPLIT_COLUMN].to_numpy()


@pytest.fixture
def bundle(export_run: Export) -> Path:
    return export_run()


def test_bundle_predicts_what_its_run_predicts(
    bundle: Path, evaluated_run: Run, raw_table: Path, splits: np.ndarray, small_schema: TableSchema
) -> None:
    scorer = Scorer(bundle)
    manifest = scorer.manifest
    assert manifest.parity == {"n_rows": 60, "max_difference": pytest.approx(0, abs=1e-5)}
    assert manifest.metrics == read_json(evaluated_run.path / METRICS)
    assert manifest.table == small_schema
    assert manifest.classes == {"1": "Apple", "2": "Pear", "3": "Plum"}
    assert manifest.preprocessor == Preprocessor.load(evaluated_run.path / PREPROCESSOR_FILE)
    assert manifest.run["id"] == evaluated_run.path.name
    (rows,) = read_table(raw_table, manifest.table)
    rows = rows.filter(splits == "test")
    inputs, encoded = manifest.preprocessor.inputs(rows), manifest.preprocessor.transform(rows)
    predicted = Predictor(evaluated_run, batch_size=64, accelerator="cpu").predict(encoded)
    expected, probabilities = predicted ** (1 / manifest.calibration["temperature"]), scorer.predict(inputs)
    np.testing.assert_allclose(probabilities, expected / expected.sum(axis=1, keepdims=True), atol=1e-5)
    labels = rows["kind"].cast("int64").to_numpy() - 1
    found = class_task(*manifest.classes.values()).score(probabilities, labels)
    assert found.accuracy == manifest.metrics["test"]["accuracy"]
    assert found.nll == pytest.approx(manifest.metrics["test"]["calibrated"]["nll"], abs=1e-6)
    assert scorer.predict(inputs.take(slice(0))).shape == (0, 3)
    # A time of which no part varied among the training rows.
    manifest.preprocessor.datetime["picked"] = {}
    _, contributions = Explainer(scorer).explain(inputs.take(slice(1)))
    assert {item["feature"] for item in contributions} == {"size", "weight", "colour"}


def test_card_has_the_scores_and_an_example_that_runs(bundle: Path, evaluated_run: Run) -> None:
    card = (bundle / CARD_FILE).read_text()
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert (metadata["library_name"], metadata["pipeline_tag"]) == ("onnx", "tabular-classification")
    (result,) = metadata["model-index"][0]["results"]
    assert result["dataset"] == {"name": "Fruit", "type": "fruit", "split": "test"}
    test = read_json(evaluated_run.path / METRICS)["test"]
    expected = {name: value for name, value in test.items() if isinstance(value, float)}
    expected |= {f"{name} (calibrated)": test["calibrated"][name] for name in ("nll", "ece")}
    assert {item["name"]: item["value"] for item in result["metrics"]} == expected
    assert {"accuracy", "f1", "nll", "roc_auc"} < {*metadata["metrics"]}
    # Class, value in the table, share before and number after the cap.
    assert "| Apple | 1 | 33.3% | 50 |" in card
    example = card.split("```python\n")[1].split("```")[0]
    command = [sys.executable, "-c", example]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=True)
    probabilities = yaml.safe_load(done.stdout)
    assert [*probabilities] == ["Apple", "Pear", "Plum"]
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
    # People complete the card, and may remove it.
    (bundle / CARD_FILE).write_text("Mine")
    Scorer(bundle)
    (bundle / CARD_FILE).unlink()
    Scorer(bundle)


def test_manifest_describes_rows_before_the_cap(bundle: Path, raw_table: Path, splits: np.ndarray) -> None:
    training = Manifest.load(bundle).training
    trained = pyarrow.csv.read_csv(raw_table).to_pandas()[splits == "train"]
    assert training.n_rows == len(trained) == 192
    weight = training.numeric["weight"]
    assert weight["max"] == trained["weight"].max()
    np.testing.assert_allclose(weight["shares"], 0.1, atol=0.006)
    assert (trained["weight"] <= weight["edges"][0]).mean() == weight["shares"][0]
    # The column that was dropped is no category; its rows are among the others.
    names = {"colour1": "colour1", "colour3": "colour3", "other": "colour2"}
    shares = {name: trained[column].mean() for name, column in names.items()}
    assert training.categories == {"colour": pytest.approx(shares)}
    assert training.classes == {"Apple": 1 / 3, "Pear": 1 / 3, "Plum": 1 / 3}


def test_bundle_holds_no_pickle_and_no_path_of_the_machine(bundle: Path, root: Path) -> None:
    assert {path.name for path in bundle.iterdir()} == {MANIFEST_FILE, CARD_FILE, *FILES}
    for path in bundle.iterdir():
        assert str(root).encode() not in path.read_bytes(), path.name
    with zipfile.ZipFile(bundle / "model.pt2") as archive:
        for name in archive.namelist():
            # As each pickle of protocol 2 or later begins.
            assert not archive.read(name).startswith(b"\x80"), name


def test_damaged_bundle_is_refused_by_file_name(bundle: Path, tmp_path: Path) -> None:
    for name in (MANIFEST_FILE, *FILES):
        content = (bundle / name).read_bytes()
        # A digit, so that the manifest stays JSON.
        place = re.compile(rb"\d").search(content, len(content) // 2).start()
        flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        for harmed in (flipped, content[:place], None):
            damaged = shutil.copytree(bundle, tmp_path / "damaged", dirs_exist_ok=True) / name
            damaged.unlink() if harmed is None else damaged.write_bytes(harmed)
            with pytest.raises((ValueError, FileNotFoundError), match=f"{name} must"):
                Manifest.load(damaged.parent).check_files(damaged.parent)


def test_scores_of_another_run_are_refused(export_run: Export, evaluated_run: Run, tmp_path: Path) -> None:
    for key, value, required in (
        ("accuracy", 0.1, "the scores of this run, .*; got "),
        ("calibrated.nll", 0.1, "the scores of this run, .*; got "),
        ("calibrated", None, "scores of both splits and a calibration"),
    ):
        metrics = OmegaConf.create(read_json(evaluated_run.path / METRICS))
        OmegaConf.update(metrics, f"test.{key}", value)
        write_json(tmp_path / "other.json", OmegaConf.to_container(metrics))
        with pytest.raises(ValueError, match=f"other.json must hold {required}"):
            export_run(metrics=tmp_path / "other.json")
    with pytest.raises(FileNotFoundError, match=r"none.json must exist; .*python src/evaluate.py run="):
        export_run(metrics=tmp_path / "none.json")
    assert not (tmp_path / "bundle").exists()


def test_other_raw_rows_are_refused(export_run: Export, evaluated_run: Run, tmp_path: Path) -> None:
    config = evaluated_run.config
    paths = config.pipeline.paths
    header, *lines = Path(paths.raw).read_text().splitlines()
    splits = Path(paths.interim, "split.csv").read_text()
    other = "raw rows of the split val, .* must be those of its tensors"
    paths.raw, paths.interim = str(tmp_path / "raw2.csv"), str(tmp_path)
    evaluated_run.save_config(config)
    swapped = {"train": "val", "val": "train"}
    for rows, names, message in (
        (lines[::-1], splits, other),
        (lines[:-1], splits, r"must be a \(split\) for each of 299 rows; got 300"),
        # The bundle describes the distribution of the training rows.
        (lines, re.sub(r"\b(train|val)\b", lambda found: swapped[found[1]], splits), other),
    ):
        Path(paths.raw).write_text("\n".join([header, *rows]))
        (tmp_path / "split.csv").write_text(names)
        with pytest.raises(ValueError, match=message):
            export_run()


def test_export_replaces_nothing_but_a_bundle(export_run: Export, evaluated_run: Run, tmp_path: Path) -> None:
    thesis, run = tmp_path / "other things/thesis.txt", evaluated_run.path
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    for place in (thesis, thesis.parent, run, run.parent, "''"):
        with pytest.raises(ValueError, match="^output must name a new folder, or one that holds a model"):
            export_run(output=place)
    assert thesis.read_text() == "years of work"
    assert (run / METRICS).is_file()
    (export_run() / "model.pt2").unlink()
    assert (export_run() / "model.pt2").is_file()


def test_compare_refuses_predictions_that_differ() -> None:
    expected, task = np.array([[0.7, 0.3], [0.5, 0.5]]), class_task("no", "yes")
    near = np.array([[0.699995, 0.300005], [0.499999, 0.500001]], dtype=np.float32)
    assert compare(task, expected, near, name="model.onnx") == pytest.approx(5e-6, abs=1e-7)
    for other, difference in ((0.51, "0.01"), (np.nan, "nan")):
        far = np.array([[0.7, 0.3], [0.5, other]], dtype=np.float32)
        with pytest.raises(ValueError, match=f"model.onnx must give .* within 1e-05; .* of {difference}: "):
            compare(task, expected, far, name="model.onnx")

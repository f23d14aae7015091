import json
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
from omegaconf import DictConfig, OmegaConf

from canopy.evaluation.inference import Predictor
from canopy.export.export import compare
from canopy.export.manifest import FILES, MANIFEST_FILE, Manifest
from canopy.export.scorer import Scorer
from canopy.files import PREPROCESSOR_FILE, read_json, write_json
from canopy.prepare.interim import SPLIT_COLUMN
from canopy.prepare.preprocessor import Preprocessor
from canopy.runs.run import METRICS, Run
from canopy.schema import TableSchema
from canopy.tables.rows import read_table

pytestmark = pytest.mark.usefixtures("trusted_targets")

Export = Callable[..., Path]

# Scores a CSV file of raw test rows with numpy and ONNX Runtime alone.
SCORE = """
import json, sys
import numpy, onnxruntime

bundle, table = sys.argv[1:]
about = json.load(open(f"{bundle}/model.json"))
with open(table) as file:
    header = file.readline().strip().split(",")
    columns = dict(zip(header, numpy.loadtxt(file, delimiter=",").T))
table, learnt = about["table"], about["preprocessor"]
codes = []
for name, vocabulary in learnt["categorical"].items():
    known = {value: code for code, value in enumerate(vocabulary["values"])}
    parts = table["columns"][name]["one_hot"]
    codes.append(sum(columns[part].astype(int) * known.get(part, known.get("other")) for part in parts))
inputs = {"numeric": numpy.stack([columns[name] for name in learnt["numeric"]], axis=1),
          "categorical": numpy.stack(codes, axis=1)}
(probabilities,) = onnxruntime.InferenceSession(f"{bundle}/model.onnx").run(None, inputs)
values = numpy.array([int(value) for value in about["classes"]])
labels = columns[table["target"]["column"]]
accuracy = (values[probabilities.argmax(axis=1)] == labels).mean()
nll = -numpy.log(probabilities[labels[:, None] == values].astype(float)).mean()
assert not {"torch", "canopy", "hydra", "pyarrow"} & {*sys.modules}
print(json.dumps([accuracy, len(labels), nll]))
"""


@pytest.fixture
def splits(raw_table: Path, small_params: DictConfig, trained_run: Run) -> np.ndarray:
    return pyarrow.csv.read_csv(f"{small_params.paths.interim}/split.csv")[SPLIT_COLUMN].to_numpy()


@pytest.fixture
def test_rows(raw_table: Path, splits: np.ndarray, tmp_path: Path) -> Path:
    """The raw test rows as a CSV file, their columns in the raw table's order."""
    header, *lines = raw_table.read_text().splitlines()
    path = tmp_path / "test_rows.csv"
    path.write_text("\n".join([header, *np.array(lines)[splits == "test"]]) + "\n")
    return path


@pytest.fixture
def bundle(export_run: Export) -> Path:
    return export_run()


def test_bundle_predicts_what_its_run_predicts(
    bundle: Path, evaluated_run: Run, test_rows: Path, small_schema: TableSchema
) -> None:
    manifest = Manifest.load(bundle)
    assert manifest.parity == {"n_rows": 60, "max_difference": pytest.approx(0, abs=1e-5)}
    assert manifest.metrics == read_json(evaluated_run.path / METRICS)
    assert manifest.table == small_schema
    assert manifest.classes == {"1": "Apple", "2": "Pear", "3": "Plum"}
    assert manifest.preprocessor == Preprocessor.load(evaluated_run.path / PREPROCESSOR_FILE)
    assert manifest.run["id"] == evaluated_run.path.name
    scorer = Scorer(bundle)
    (rows,) = read_table(test_rows, manifest.table)
    inputs = manifest.preprocessor.inputs(rows)
    predictor = Predictor(evaluated_run, batch_size=64, accelerator="cpu")
    logits = np.log(predictor.predict(manifest.preprocessor.transform(rows))) / manifest.temperature
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scorer.predict(inputs), expected, atol=1e-5)
    assert scorer.predict(inputs.take(slice(0))).shape == (0, 3)


def test_manifest_describes_training_rows_before_the_cap(
    bundle: Path, raw_table: Path, splits: np.ndarray
) -> None:
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


def test_bundle_gives_the_same_scores_with_numpy_and_onnxruntime_alone(bundle: Path, test_rows: Path) -> None:
    command = [sys.executable, "-I", "-c", SCORE, bundle, test_rows]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    expected = Manifest.load(bundle).metrics["test"]
    scores = [
        expected["accuracy"],
        expected["n_rows"],
        pytest.approx(expected["calibrated"]["nll"], abs=1e-6),
    ]
    assert json.loads(done.stdout) == scores


def test_bundle_holds_no_pickle_and_no_path_of_the_machine(bundle: Path, root: Path) -> None:
    assert {path.name for path in bundle.iterdir()} == {MANIFEST_FILE, *FILES}
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
    for key in ("accuracy", "calibrated.nll", "calibrated"):
        metrics = OmegaConf.create(read_json(evaluated_run.path / METRICS))
        OmegaConf.update(metrics, f"test.{key}", None if key == "calibrated" else 0.1)
        write_json(tmp_path / "other.json", OmegaConf.to_container(metrics))
        scores = (
            "scores of both splits and a temp" if key == "calibrated" else "the scores of this run, .*; got "
        )
        with pytest.raises(ValueError, match=f"other.json must hold {scores}"):
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
    (tmp_path / "a file").write_text("years of work")
    (tmp_path / "other things").mkdir()
    (tmp_path / "other things/thesis.txt").write_text("years of work")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    run = evaluated_run.path
    for place in (tmp_path / "a file", tmp_path / "other things", run, run.parent, "''"):
        with pytest.raises(
            ValueError, match="^output must name a new folder, or one that holds a model.json"
        ):
            export_run(output=place)
    assert {path: path.read_bytes() for path in before} == before
    (export_run() / "model.pt2").unlink()
    assert (export_run() / "model.pt2").is_file()


def test_compare_refuses_predictions_that_differ() -> None:
    expected = np.array([[0.7, 0.3], [0.5, 0.5]])
    near = np.array([[0.699995, 0.300005], [0.499999, 0.500001]], dtype=np.float32)
    assert compare(expected, near, name="model.onnx") == pytest.approx(5e-6, abs=1e-7)
    for other, difference in ((0.51, "0.01"), (np.nan, "nan")):
        far = np.array([[0.7, 0.3], [0.5, other]], dtype=np.float32)
        with pytest.raises(ValueError, match=f"model.onnx must give .* within 1e-05; .* of {difference}: "):
            compare(expected, far, name="model.onnx")

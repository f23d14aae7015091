import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from omegaconf import OmegaConf

from canopy.data.dataset import load_rows
from canopy.evaluation.inference import Predictor
from canopy.export.predict import predict
from canopy.files import PREPROCESSOR_FILE
from canopy.prepare.interim import SPLIT_COLUMN
from canopy.runs.run import CONFIG, Run
from packages import composed

pytestmark = pytest.mark.usefixtures("trusted_targets")

HEADER = "size,colour1,colour2,colour3,weight,kind"
ROW = "2,1,0,0,1.5,1"
PROBABILITIES = ["probability_Apple", "probability_Pear", "probability_Plum"]

Predict = Export = Callable[..., Path]


@pytest.fixture
def predict_csv(trained_run: Run, tmp_path: Path) -> Iterator[Predict]:
    """Predict the rows of a CSV text; gives the output's path."""

    def call(text: str, output: str = "output.csv", **options: object) -> Path:
        source = tmp_path / "input.csv"
        source.write_text(text)
        given = {"run": trained_run.path, "input": source, "output": tmp_path / output, **options}
        predict(composed("predict", "accelerator=cpu", *(f"{key}={value}" for key, value in given.items())))
        return tmp_path / output

    yield call
    # Whatever happened, nothing temporary is left.
    assert not list(tmp_path.glob(".*"))


def probabilities_of(table: pa.Table) -> np.ndarray:
    return np.stack([table[name].to_numpy() for name in PROBABILITIES], axis=1).astype(np.float32)


def test_predictions_equal_those_of_the_tensors(
    trained_run: Run, predict_csv: Predict, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    paths = trained_run.config.pipeline.paths
    splits = pyarrow.csv.read_csv(f"{paths.interim}/split.csv")[SPLIT_COLUMN].to_pylist()
    header, *lines = Path(paths.raw).read_text().splitlines()
    text = "\n".join([header, *(line for line, name in zip(lines, splits, strict=True) if name == "test")])
    model = Predictor(trained_run, batch_size=4096, accelerator="cpu").model
    rows = load_rows(paths.processed, "test", trained_run.schema).rows
    with torch.inference_mode():
        expected = model(rows.numeric, rows.categorical).softmax(dim=1)
    classes = expected.argmax(dim=1)
    for output, read in (("new/a.csv", pyarrow.csv.read_csv), ("a.parquet", pyarrow.parquet.read_table)):
        table = read(predict_csv(text, output))
        assert table.column_names == ["label", "class", *PROBABILITIES]
        assert np.array_equal(probabilities_of(table), expected.numpy())
        assert [int(label) for label in table["label"].to_pylist()] == (classes + 1).tolist()
        assert table["class"].to_pylist() == [("Apple", "Pear", "Plum")[index] for index in classes]
    # The table has labels.
    accuracy = (classes == rows.labels).float().mean()
    assert f"On 60 rows with a label: accuracy {accuracy:.4f}, log loss" in caplog.text
    pieces = pyarrow.csv.read_csv(predict_csv(text, batch_size=2))
    np.testing.assert_allclose(probabilities_of(pieces), expected, atol=1e-6)


def test_the_format_of_new_rows_may_be_another_one(predict_csv: Predict, tmp_path: Path) -> None:
    expected = predict_csv(f"{HEADER}\n{ROW}\n").read_bytes()
    rows = [dict(zip(HEADER.split(","), map(float, ROW.split(",")), strict=True))]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for source in ("rows.parquet", "rows.jsonl"):
        assert predict_csv("", input=tmp_path / source).read_bytes() == expected


def test_keys_are_copied_into_the_predictions(predict_csv: Predict) -> None:
    text = f"id,{HEADER}\n007,{ROW}\n8,{ROW}\n"
    table = pyarrow.parquet.read_table(predict_csv(text, "a.parquet", keys="[id,weight]"))
    assert table.column_names == ["id", "weight", "label", "class", *PROBABILITIES]
    assert table["id"].to_pylist() == ["007", "8"]
    assert table["weight"].to_pylist() == ["1.5", "1.5"]
    for keys, kept in (("id", ["id"]), ("null", [])):
        found = pyarrow.parquet.read_table(predict_csv(text, "b.parquet", keys=keys))
        assert found.equals(table.select([*kept, "label", "class", *PROBABILITIES]))


def test_labels_order_and_further_columns_change_no_prediction(
    predict_csv: Predict, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    expected = predict_csv(f"{HEADER.removesuffix(',kind')}\n" + "2,1,0,0,1.5\n" * 20, "a.csv").read_bytes()
    text = "colour3,note,weight,colour1,size,colour2\n" + "0,new,1.5,1,2,0\n" * 20
    assert predict_csv(text).read_bytes() == expected
    assert "columns that table.columns does not list are ignored: 'note'" in caplog.text
    for label, score in (("", ""), ("Apple", "no label in the column 'kind' is one of"), ("1", "On 20 rows")):
        assert not re.search("a label|no label", caplog.text)
        assert predict_csv(f"{HEADER}\n" + f"2,1,0,0,1.5,{label}\n" * 20).read_bytes() == expected
        assert score in caplog.text
        caplog.clear()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2,1,0,0,NaN,1", "column 'weight' must have a value in every row; got none in line 42"),
        ("2,1,1,0,1.5,1", "column 'colour' must have exactly one column that is 1; got 2 in line 42"),
        ("2,1,0,0,1.5", "each line must have as many values as the header has names; got .* in line 42"),
    ],
)
def test_invalid_value_is_rejected(tmp_path: Path, predict_csv: Predict, row: str, message: str) -> None:
    text = "\n".join([HEADER, *[ROW] * 40, row, *[ROW] * 40])
    (tmp_path / "output.csv").write_text("old")
    with pytest.raises(ValueError, match=message):
        predict_csv(text, on_error="reject_file")
    assert (tmp_path / "output.csv").read_text() == "old"
    # By default the other rows are predicted.
    assert pyarrow.csv.read_csv(predict_csv(text)).num_rows == 80
    (rejected,) = pyarrow.csv.read_csv(tmp_path / "output.csv.rejected.csv").to_pylist()
    column = f"column {rejected['column']!r}" if rejected["column"] else "each line"
    found = f"{column} must {rejected['requirement']}; got {rejected['value']} in line {rejected['line']}"
    assert re.fullmatch(message, found)
    predict_csv(f"{HEADER}\n{ROW}\n")
    assert not (tmp_path / "output.csv.rejected.csv").exists()


@pytest.mark.parametrize(("rows", "n_rejected"), [("", 0), ("x,1,0,0,1.5,1\n,1,0,0,1.5,1\n", 2)])
def test_table_without_a_valid_row_gives_an_empty_output(
    export_run: Export, predict_csv: Predict, caplog: pytest.LogCaptureFixture, rows: str, n_rejected: int
) -> None:
    for model in ({}, {"run": "null", "bundle": export_run()}):
        path = predict_csv(f"{HEADER}\n{rows}", **model)
        table = pyarrow.csv.read_csv(path)
        assert (table.num_rows, table.column_names) == (0, ["label", "class", *PROBABILITIES])
        rejected = Path(f"{path}.rejected.csv")
        assert (pyarrow.csv.read_csv(rejected).num_rows if rejected.exists() else 0) == n_rejected
        assert "Predicted 0 rows" in caplog.messages[-1]


def test_unseen_categories_are_other(
    trained_run: Run, predict_csv: Predict, caplog: pytest.LogCaptureFixture
) -> None:
    config = trained_run.config
    # A table of the same categories, as texts; colour2 was dropped, so that other is among them.
    colour = {"kind": "categorical", "categories": {"colour1": "Red", "colour3": "Blue"}, "unseen": "other"}
    config.pipeline.table.columns.colour = colour
    OmegaConf.save(config, trained_run.path / CONFIG)
    path = predict_csv("size,colour,weight\n2,colour1,1.5\n2,violet,1.5\n2,other,1.5\n")
    found = probabilities_of(pyarrow.csv.read_csv(path))
    np.testing.assert_allclose(found[1], found[2], atol=1e-6)
    assert "'colour': 1 of 3 rows have a category that was unseen, rare or dropped in training" in caplog.text


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "input.csv must hold a header and rows; got an empty file"),
        (HEADER.replace("weight", "wieght"), {}, r"column 'weight'; got .* mean 'wieght'"),
        (HEADER, {"output": "a"}, "must end with .csv, .parquet, or / for a folder .*; got .*/a"),
        (HEADER, {"output": "a.xlsx"}, "must be written as .csv or .parquet; got .*a.xlsx"),
        (HEADER, {"output": "input.csv"}, "must be another file than the input"),
        (HEADER, {"batch_size": 0}, "batch size must be at least 1; found 0"),
        (HEADER, {"accelerator": "tpu"}, "accelerator must be .*; got 'tpu'"),
    ],
)
def test_mistakes_leave_no_output(
    predict_csv: Predict, tmp_path: Path, text: str, options: dict[str, object], message: str
) -> None:
    (tmp_path / "output.csv").write_text("old")
    source = text and f"{text}\n{ROW}\n"
    with pytest.raises(ValueError, match=message):
        predict_csv(source, **options)
    assert (tmp_path / "output.csv").read_text() == "old"
    assert (tmp_path / "input.csv").read_text() == source


def test_changed_preprocessor_is_refused(trained_run: Run, predict_csv: Predict) -> None:
    path = trained_run.path / PREPROCESSOR_FILE
    path.write_text(path.read_text().replace('"center": ', '"center": 1'))
    with pytest.raises(ValueError, match="must be the one that the run was trained with, of the SHA-256 "):
        predict_csv(f"{HEADER}\n{ROW}\n")


@pytest.mark.parametrize("n_processes", [1, 2])
def test_a_folder_is_predicted_file_by_file_and_resumed(
    trained_run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, n_processes: int
) -> None:
    caplog.set_level(logging.INFO)
    source, output = tmp_path / "new", tmp_path / "predicted"
    source.mkdir()
    for index in range(3):
        (source / f"{index}.csv").write_text(f"{HEADER}\n" + f"{index},1,0,0,1.5,1\n" * (index + 1))
    options = {"run": trained_run.path, "input": source, "format": "csv", "engine.n_processes": n_processes}

    def call(**given: object) -> str:
        caplog.clear()
        words = [f"{key}={value}" for key, value in {**options, "output": f"{output}/", **given}.items()]
        predict(composed("predict", "accelerator=cpu", *words))
        return caplog.text

    assert "Predicted 6 rows" in call()
    assert "On 6 rows with a label: accuracy" in caplog.text
    whole = call(output=f"{tmp_path}/all.csv")
    assert re.findall("On 6 rows .*", whole)
    _, *expected = (tmp_path / "all.csv").read_text().splitlines()
    files = [output / f"{index}.csv.csv" for index in range(3)]
    assert [line for file in files for line in file.read_text().splitlines()[1:]] == expected
    (source / "2.csv").write_text(f"{HEADER}\n3,1,0,0,1.5,1\n")
    files[1].unlink()
    text = call()
    assert "Predicted before: 1 of 3 files" in text
    assert "Predicted 3 rows" in text
    assert "Predicted before: 3 of 3 files" in call()
    with pytest.raises(ValueError, match="of the same model and options; got those of another on_error"):
        call(on_error="reject_file")
    with pytest.raises(ValueError, match="must be a new folder, or hold predictions; got other files"):
        call(output=f"{source}/")


def test_files_of_one_name_and_a_folder_without_predictions(trained_run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part.csv").write_text(f"{HEADER}\n{ROW}\n")
    output = tmp_path / "predicted"

    def call(source: str, **options: object) -> None:
        given = {"run": trained_run.path, "input": tmp_path / source, "output": f"{output}/", **options}
        predict(composed("predict", "accelerator=cpu", *(f"{key}={value}" for key, value in given.items())))

    with pytest.raises(ValueError, match="must have different names, .* got 'part.csv' twice"):
        call("*/part.csv")
    with pytest.raises(ValueError, match="threshold must be null where there are not two classes; got 0.5"):
        call("a", threshold=0.5)
    # What failed binds nothing.
    call("a")
    assert (output / "part.csv.parquet").is_file()

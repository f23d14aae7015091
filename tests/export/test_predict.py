import gzip
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from canopy.data.dataset import load_rows
from canopy.evaluation.inference import Predictor, choose_device
from canopy.export.predict import predict
from canopy.files import PREPROCESSOR_FILE, read_json, write_json
from canopy.prepare.interim import SPLIT_COLUMN
from canopy.runs.run import CONFIG, Run

pytestmark = pytest.mark.usefixtures("trusted_targets")

N_ROWS = 300
HEADER = "size,colour1,colour2,colour3,weight,kind"
ROW = "2,1,0,0,1.5,1"
PROBABILITIES = ["probability_Apple", "probability_Pear", "probability_Plum"]

Predict = Callable[..., Path]


@pytest.fixture
def predict_csv(trained_run: Run, root: Path, tmp_path: Path) -> Iterator[Predict]:
    """Predict the rows of a CSV text, or of files; gives the output's path."""

    def call(source: str | Path, output: str = "output.csv", **options: object) -> Path:
        if isinstance(source, str):
            (tmp_path / "input.csv").write_text(source)
            source = tmp_path / "input.csv"
        changes = [f"{key}={value}" for key, value in options.items()]
        target = tmp_path / output
        run = "null" if "bundle" in options else trained_run.path
        with initialize_config_dir(str(root / "configs"), job_name="predict"):
            cfg = compose(
                "predict",
                [f"run={run}", f"input='{source}'", f"output={target}", "accelerator=cpu", *changes],
            )
        predict(cfg)
        return target

    yield call
    # Whatever happened, nothing temporary is left.
    assert not list(tmp_path.glob(".*"))


def probabilities_of(table: pa.Table) -> np.ndarray:
    return np.stack([table[name].to_numpy() for name in PROBABILITIES], axis=1).astype(np.float32)


def splits_of(params: DictConfig) -> np.ndarray:
    return pyarrow.csv.read_csv(f"{params.paths.interim}/split.csv")[SPLIT_COLUMN].to_numpy()


def test_predictions_equal_those_of_the_tensors(
    trained_run: Run,
    raw_table: Path,
    small_params: DictConfig,
    predict_csv: Predict,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    splits = splits_of(small_params)
    header, *lines = raw_table.read_text().splitlines()
    text = "\n".join([header, *(line for line, name in zip(lines, splits, strict=True) if name == "test")])
    model = Predictor(trained_run, batch_size=4096, accelerator="cpu").model
    rows = load_rows(small_params.paths.processed, "test", trained_run.schema).rows
    with torch.inference_mode():
        expected = model(rows.numeric, rows.categorical).softmax(dim=1)
    for output in ("a.csv", "a.parquet"):
        path = predict_csv(text, output)
        table = (pyarrow.csv.read_csv if output == "a.csv" else pyarrow.parquet.read_table)(path)
        assert table.column_names == ["label", "class", *PROBABILITIES]
        assert np.array_equal(probabilities_of(table), expected.numpy())
        labels = [int(label) for label in table["label"].to_pylist()]
        assert labels == (expected.argmax(dim=1) + 1).tolist()
        names = dict(zip((1, 2, 3), ("Apple", "Pear", "Plum"), strict=True))
        assert table["class"].to_pylist() == [names[label] for label in labels]
    # The table has labels.
    accuracy = (expected.argmax(dim=1) == rows.labels).float().mean()
    assert f"On 60 rows with a label: accuracy {accuracy:.4f}, macro-F1" in caplog.text


def test_predictions_do_not_depend_on_batch_size(raw_table: Path, predict_csv: Predict) -> None:
    whole = pyarrow.csv.read_csv(predict_csv(raw_table, "whole.csv"))
    pieces = pyarrow.csv.read_csv(predict_csv(raw_table, "pieces.csv", batch_size=2))
    assert whole.num_rows == N_ROWS
    assert pieces["label"] == whole["label"]
    np.testing.assert_allclose(probabilities_of(pieces), probabilities_of(whole), atol=1e-6)


@pytest.mark.parametrize("label", ["1", "7", "", "no idea"])
def test_labels_change_no_prediction(
    predict_csv: Predict, label: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    without = f"{HEADER.removesuffix(',kind')}\n" + "2,1,0,0,1.5\n" * 20
    expected = predict_csv(without, "expected.csv").read_bytes()
    assert "with a label" not in caplog.text
    assert predict_csv(f"{HEADER}\n" + f"2,1,0,0,1.5,{label}\n" * 20).read_bytes() == expected
    assert ("On 20 rows with a label: " in caplog.text) == (label == "1")


def test_column_order_and_further_columns_are_ignored(
    predict_csv: Predict, caplog: pytest.LogCaptureFixture
) -> None:
    expected = predict_csv(f"{HEADER}\n{ROW}\n").read_bytes()
    found = predict_csv("colour3,note,weight,colour1,size,colour2\n0,new,1.5,1,2,0\n")
    assert found.read_bytes() == expected
    assert "columns that table.columns does not list are ignored: 'note'" in caplog.text


def test_keys_are_copied_into_the_predictions(predict_csv: Predict) -> None:
    path = predict_csv(f"id,{HEADER}\n007,{ROW}\n8,{ROW}\n", keys="[id,weight]", output="a.parquet")
    table = pyarrow.parquet.read_table(path)
    assert table.column_names == ["id", "weight", "label", "class", *PROBABILITIES]
    assert table["id"].to_pylist() == ["007", "8"]
    assert table["weight"].to_pylist() == ["1.5", "1.5"]
    without = pyarrow.parquet.read_table(predict_csv(f"{HEADER}\n{ROW}\n{ROW}\n", output="b.parquet"))
    assert table.select(without.column_names).equals(without)


BAD_ROWS = [
    ("2,1,0,0,heavy,1", "column 'weight' must be a number; got 'heavy' in line 42"),
    ("2,1,0,0,NaN,1", "column 'weight' must have a value in every row; got none in line 42"),
    (",1,0,0,1.5,1", "column 'size' must have a value in every row; got none in line 42"),
    ("inf,1,0,0,1.5,1", "column 'size' must be a finite number; got 'inf' in line 42"),
    ("2,1,0.5,0,1.5,1", "column 'colour2' must be 0 or 1; got '0.5' in line 42"),
    ("2,1,1,0,1.5,1", "column 'colour' must have exactly one column that is 1; got 2 in line 42"),
    ("2,0,0,0,1.5,1", "column 'colour' must have a value in every row; got none in line 42"),
    ("2,1,0,0,1e300,1", "column 'weight' must fit into single precision; got '1e300' in line 42"),
    ("2,1,0,0,1.5", "each line must have as many values as the header has names; got .* in line 42"),
]


@pytest.mark.parametrize(("row", "message"), BAD_ROWS)
def test_invalid_value_is_rejected_by_line(
    tmp_path: Path, predict_csv: Predict, row: str, message: str
) -> None:
    text = "\n".join([HEADER, *[ROW] * 40, row, *[ROW] * 40])
    (tmp_path / "output.csv").write_text("old")
    with pytest.raises(ValueError, match=message):
        predict_csv(text, on_error="reject_file")
    assert (tmp_path / "output.csv").read_text() == "old"
    # By default the other rows are predicted.
    assert pyarrow.csv.read_csv(predict_csv(text)).num_rows == 80
    (rejected,) = pyarrow.csv.read_csv(tmp_path / "output.csv.rejected.csv").to_pylist()
    assert rejected["line"] == 42
    column = f"column {rejected['column']!r}" if rejected["column"] else "each line"
    found = f"{column} must {rejected['requirement']}; got {rejected['value']} in line 42"
    assert re.fullmatch(message, found)
    predict_csv(f"{HEADER}\n{ROW}\n")
    assert not (tmp_path / "output.csv.rejected.csv").exists()


def test_every_invalid_value_is_listed(tmp_path: Path, predict_csv: Predict) -> None:
    rows = [f"{'x' if i % 3 == 0 else i},1,0,0,{'y' if i % 5 == 0 else i},1" for i in range(100)]
    table = pyarrow.csv.read_csv(predict_csv("\n".join([HEADER, *rows])))
    assert table.num_rows == sum(i % 3 != 0 and i % 5 != 0 for i in range(100))
    rejected = pyarrow.csv.read_csv(tmp_path / "output.csv.rejected.csv").to_pylist()
    wrong = {(row["line"], row["column"], row["value"]) for row in rejected}
    assert wrong == {(i + 2, "size", "'x'") for i in range(0, 100, 3)} | {
        (i + 2, "weight", "'y'") for i in range(0, 100, 5)
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold a header and rows; got an empty file"),
        (f"{HEADER.replace('weight', 'wieght')}\n{ROW}\n", r"column 'weight'; got .* mean 'wieght'"),
        (f"{HEADER.replace('colour2', 'colour4')}\n{ROW}\n", "must have the column 'colour2'"),
        (f"size,{HEADER}\n2,{ROW}\n", "must name each column once; got 'size' twice"),
    ],
)
def test_invalid_table_leaves_no_output(
    tmp_path: Path, predict_csv: Predict, text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        predict_csv(text)
    assert not (tmp_path / "output.csv").exists()


def test_several_files_are_read_as_one_table(raw_table: Path, predict_csv: Predict, tmp_path: Path) -> None:
    header, *lines = raw_table.read_text().splitlines()
    (tmp_path / "parts").mkdir()
    for part in range(3):
        text = "\n".join([header, *lines[part * 100 : (part + 1) * 100]])
        (tmp_path / f"parts/{part}.csv.gz").write_bytes(gzip.compress(text.encode()))
    expected = pyarrow.csv.read_csv(predict_csv(raw_table, "whole.csv"))
    for pattern in ("parts/*.csv.gz", "parts"):
        found = pyarrow.csv.read_csv(predict_csv(tmp_path / pattern))
        assert found["label"] == expected["label"]
        np.testing.assert_allclose(probabilities_of(found), probabilities_of(expected), atol=1e-6)


def place(path: Path, content: str) -> None:
    """Put there what the text names."""
    if content == "pipe":
        os.mkfifo(path)
    elif content == "folder":
        path.mkdir()
    elif content == "link":
        path.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.csv", "", "The table .*/absent.csv must exist; found no such file$"),
        ("link.csv", "link", "link.csv must exist; found no such file$"),
        ("a.csv", "folder", "The table .*/a.csv must be a file; got a folder: name a file in it$"),
        ("a.csv", "pipe", "must be a file; got a pipe$"),
    ],
)
def test_input_that_is_no_file_is_refused(
    tmp_path: Path, predict_csv: Predict, name: str, content: str, message: str
) -> None:
    (tmp_path / "output.csv").write_text("old")
    place(tmp_path / name, content)
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        predict_csv(tmp_path / name)
    assert (tmp_path / "output.csv").read_text() == "old"


def test_run_folder_refuses_a_file_in_it(trained_run: Run) -> None:
    for file in (trained_run.best_checkpoint, trained_run.path / CONFIG):
        with pytest.raises(FileNotFoundError, match=f"found a file, {file}: name {trained_run.path}$"):
            Run(file)


def test_predict_refuses_a_url(predict_csv: Predict) -> None:
    with pytest.raises(ValueError, match="s3://bucket/a.csv must be a file; got a URL: download it first"):
        predict_csv(Path("s3://bucket/a.csv"))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("output.xlsx", "must end in .csv or .parquet, or be -; got .*output.xlsx"),
        ("folder.csv", "output must be a file, or a new one; got a folder, .*/folder.csv: choose another"),
        ("pipe.csv", "output must be a file, or a new one; got a pipe, .*/pipe.csv"),
        ("input.csv/output.csv", "output must be a file, or a new one; got a path below a file"),
        ("input.csv", "must be another file than the input"),
    ],
)
def test_invalid_output_is_refused(tmp_path: Path, predict_csv: Predict, output: str, message: str) -> None:
    place(tmp_path / "folder.csv", "folder")
    place(tmp_path / "pipe.csv", "pipe")
    with pytest.raises(ValueError, match=message):
        predict_csv(f"{HEADER}\n{ROW}\n", output)
    assert (tmp_path / "input.csv").read_text() == f"{HEADER}\n{ROW}\n"
    assert (tmp_path / "pipe.csv").is_fifo()


@pytest.mark.parametrize(
    ("output", "owner", "name"),
    [("a.csv", pyarrow.csv, "write_csv"), ("a.parquet", pyarrow.parquet.ParquetWriter, "write")],
)
@pytest.mark.parametrize("stop", [OSError("No space left on device"), KeyboardInterrupt()], ids=str)
def test_interrupted_write_keeps_the_old_output(
    predict_csv: Predict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    output: str,
    owner: Any,
    name: str,
    stop: BaseException,
) -> None:
    (tmp_path / output).write_text("old")
    write = getattr(owner, name)

    def stopped(*arguments: Any) -> None:
        write(*arguments)
        # The header of CSV is written without rows.
        if any(getattr(argument, "num_rows", 0) for argument in arguments):
            raise stop

    monkeypatch.setattr(owner, name, stopped)
    with pytest.raises(type(stop)):
        predict_csv("\n".join([HEADER, *[ROW] * 40]), output)
    assert (tmp_path / output).read_text() == "old"


@pytest.mark.parametrize("unseen", ["other", "reject"])
def test_unseen_categories_are_other_or_rejected(
    trained_run: Run,
    predict_csv: Predict,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    unseen: str,
) -> None:
    config = trained_run.config
    # A table of the same categories, as texts; colour2 was dropped, so that other is among them.
    colour = {"kind": "categorical", "categories": {"colour1": "Red", "colour3": "Blue"}, "unseen": unseen}
    config.pipeline.table.columns.colour = colour
    OmegaConf.save(config, trained_run.path / CONFIG)
    path = predict_csv("size,colour,weight\n2,colour1,1.5\n2,violet,1.5\n2,other,1.5\n")
    found = pyarrow.csv.read_csv(path)
    if unseen == "reject":
        assert found.num_rows == 1
        rejected = pyarrow.csv.read_csv(f"{path}.rejected.csv")
        assert rejected["requirement"].to_pylist() == ["be one of 'colour1', 'colour3'"] * 2
        return
    np.testing.assert_allclose(probabilities_of(found)[1], probabilities_of(found)[2], atol=1e-6)
    assert "'colour': 1 of 3 rows have a category that was unseen, rare or dropped in training" in caplog.text


def test_changed_preprocessor_is_refused(trained_run: Run, predict_csv: Predict) -> None:
    path = trained_run.path / PREPROCESSOR_FILE
    content = read_json(path)
    content["numeric"]["weight"]["center"] += 1
    write_json(path, content)
    with pytest.raises(ValueError, match="must be the one that the run was trained with, of the SHA-256 "):
        predict_csv(f"{HEADER}\n{ROW}\n")


def test_invalid_options_are_refused(trained_run: Run, predict_csv: Predict) -> None:
    with pytest.raises(ValueError, match="batch size must be at least 1; found 0"):
        predict_csv(f"{HEADER}\n{ROW}\n", batch_size=0)
    with pytest.raises(ValueError, match=r"one of \['auto', 'cpu', 'gpu'\]; found 'tpu'"):
        choose_device("tpu")  # type: ignore[arg-type]

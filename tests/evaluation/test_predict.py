import gzip
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from canopy.data.encoding import encode
from canopy.prepare.normalization import load_normalization
from canopy.table.csv import read_table
from canopy.table.kept import kept_table
from canopy.table.spec import TableSpec
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from canopy.data.dataset import load_rows
from canopy.data.schema import NORMALIZATION_FILE, SCHEMA_FILE
from canopy.evaluation import predictions
from canopy.evaluation.inference import Predictor, choose_device
from canopy.evaluation.predict import predict
from canopy.files import read_json, write_json
from canopy.training.run_folder import CONFIG, RunFolder

pytestmark = pytest.mark.usefixtures("trusted_targets")

N_ROWS = 300
HEADER = "size,colour1,colour2,colour3,weight,kind"
ROW = "2,1,0,0,1.5,1"
PROBABILITIES = ["probability_Apple", "probability_Pear", "probability_Plum"]

Predict = Callable[..., Path]


@pytest.fixture
def predict_csv(trained_run: RunFolder, root: Path, tmp_path: Path) -> Iterator[Predict]:
    """Predict the rows of a CSV text or file; gives the output's path."""

    def call(
        source: str | Path, output: str = "output.csv", *, block_bytes: int = 64, **options: object
    ) -> Path:
        if isinstance(source, str):
            (tmp_path / "input.csv").write_text(source)
            source = tmp_path / "input.csv"
        changes = [f"{key}={value}" for key, value in options.items()]
        target = tmp_path / output
        run = "null" if "bundle" in options else trained_run.path
        with initialize_config_dir(str(root / "configs"), job_name="predict"):
            cfg = compose(
                "predict",
                [f"run={run}", f"input={source}", f"output={target}", "accelerator=cpu", *changes],
            )
        predict(cfg, block_bytes=block_bytes)
        return target

    yield call
    # Whatever happened, nothing temporary is left.
    assert not list(tmp_path.glob(".*"))


def probabilities_of(table: pa.Table) -> np.ndarray:
    return np.stack([table[name].to_numpy() for name in PROBABILITIES], axis=1).astype(np.float32)


def test_raw_rows_are_encoded_as_the_pipeline_encodes_them(
    trained_run: RunFolder, raw_table: Path, small_params: DictConfig
) -> None:
    table = read_table(raw_table, TableSpec.from_config(small_params.table))
    rows = encode(
        table, kept_table(small_params), scalings=load_normalization(trained_run.path / NORMALIZATION_FILE)
    )
    splits = pyarrow.csv.read_csv(f"{small_params.paths.interim}/split.csv")["split"].to_numpy()
    for name in ("val", "test"):
        expected = load_rows(small_params.paths.processed, name, trained_run.schema).rows
        assert torch.equal(torch.from_numpy(rows.numeric[splits == name]), expected.numeric)
        assert torch.equal(torch.from_numpy(rows.categorical[splits == name]), expected.categorical)
    assert set(rows.categorical[:, 0].tolist()) == {0, 1, 2}


def test_predictions_are_those_of_the_evaluated_tensors(
    trained_run: RunFolder, raw_table: Path, small_params: DictConfig, predict_csv: Predict
) -> None:
    splits = pyarrow.csv.read_csv(f"{small_params.paths.interim}/split.csv")["split"].to_pylist()
    header, *lines = raw_table.read_text().splitlines()
    text = "\n".join([header, *(line for line, name in zip(lines, splits, strict=True) if name == "test")])
    model = Predictor(trained_run, batch_size=4096, accelerator="cpu").model
    rows = load_rows(small_params.paths.processed, "test", trained_run.schema).rows
    with torch.inference_mode():
        expected = model(rows.numeric, rows.categorical).softmax(dim=1)
    for output in ("a.csv", "a.parquet"):
        path = predict_csv(text, output, block_bytes=100_000)
        table = (pyarrow.csv.read_csv if output == "a.csv" else pyarrow.parquet.read_table)(path)
        assert table.column_names == ["label", "class", *PROBABILITIES]
        assert np.array_equal(probabilities_of(table), expected.numpy())
        assert table["label"].to_pylist() == (expected.argmax(dim=1) + 1).tolist()
        names = dict(zip((1, 2, 3), ("Apple", "Pear", "Plum"), strict=True))
        assert table["class"].to_pylist() == [names[label] for label in table["label"].to_pylist()]


def test_the_size_of_blocks_and_batches_changes_nothing(raw_table: Path, predict_csv: Predict) -> None:
    whole = pyarrow.csv.read_csv(predict_csv(raw_table, "whole.csv", block_bytes=100_000))
    pieces = pyarrow.csv.read_csv(predict_csv(raw_table, "pieces.csv", block_bytes=64, batch_size=2))
    assert whole.num_rows == N_ROWS
    assert pieces["label"] == whole["label"]
    np.testing.assert_allclose(probabilities_of(pieces), probabilities_of(whole), atol=1e-6)


@pytest.mark.parametrize("edit", [str, lambda _: "", lambda _: "no idea"], ids=["number", "none", "text"])
def test_the_target_is_ignored(predict_csv: Predict, edit: Callable[[object], str]) -> None:
    without = f"{HEADER.removesuffix(',kind')}\n" + "2,1,0,0,1.5\n" * 20
    ignored = f"{HEADER}\n" + f"2,1,0,0,1.5,{edit(7)}\n" * 20
    # In one block, since rounding may depend on how many rows are computed at once.
    expected = predict_csv(without, "expected.csv", block_bytes=100_000).read_bytes()
    assert predict_csv(ignored, block_bytes=100_000).read_bytes() == expected


def test_the_order_of_columns_does_not_matter(predict_csv: Predict) -> None:
    expected = predict_csv(f"{HEADER}\n{ROW}\n").read_bytes()
    assert predict_csv("colour3,weight,colour1,size,colour2\n0,1.5,1,2,0\n").read_bytes() == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2,1,0,0,heavy,1", "column 'weight' must hold numbers; found 'heavy' in line 42"),
        ("2,1,0,0,NaN,1", "column 'weight' must have a value in every row; found none in line 42"),
        (",1,0,0,1.5,1", "column 'size' must have a value in every row; found none in line 42"),
        ("inf,1,0,0,1.5,1", "column 'size' must be finite; found inf in line 42"),
        ("2,1,0.5,0,1.5,1", "one-hot column 'colour2' must hold 0 or 1; found 0.5 in line 42"),
        ("2,1,1,0,1.5,1", "must set exactly one column of 'colour'; found 2 set in line 42"),
        ("2,0,0,0,1.5,1", "must set exactly one column of 'colour'; found 0 set in line 42"),
        ("2,1,0,0,1e300,1", "small enough for single precision; found one that is not in line 42"),
        ("2,1,0,0,1.5", "well-formed CSV file; found: .*Row #42: Expected 6 columns, got 5"),
    ],
)
def test_a_wrong_value_is_named_by_its_line_in_the_file(
    tmp_path: Path, predict_csv: Predict, row: str, message: str
) -> None:
    (tmp_path / "output.csv").write_text("old")
    with pytest.raises(ValueError, match=message):
        predict_csv("\n".join([HEADER, *[ROW] * 40, row, *[ROW] * 40, "2,1,0,0,late,1"]))
    assert (tmp_path / "output.csv").read_text() == "old"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold a header and rows; found an empty file"),
        (f"{HEADER}\n", "must hold rows below its header; found none"),
        (f"{HEADER.replace('weight', 'wieght')}\n{ROW}\n", r"column 'weight'; found .* mean 'wieght'"),
        (f"{HEADER.replace('colour2', 'colour4')}\n{ROW}\n", "must have the column 'colour2'"),
        (f"{HEADER.replace('kind', 'kindd')}\n{ROW}\n", r"no others; found 'kindd' \(did you mean 'kind'"),
        (f"{HEADER},extra\n{ROW},1\n", "no others; found 'extra'"),
    ],
)
def test_a_wrong_table_leaves_no_output(
    tmp_path: Path, predict_csv: Predict, text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        predict_csv(text)
    assert not (tmp_path / "output.csv").exists()


PACKED = gzip.compress(f"{HEADER}\n{ROW}\n".encode(), mtime=0)
PARQUET = io.BytesIO()
pyarrow.parquet.write_table(pa.table({"weight": [1.5]}), PARQUET)


def place(path: Path, content: bytes | str) -> None:
    """Put a file there, or what the text names."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "pipe":
        os.mkfifo(path)
    elif content == "folder":
        path.mkdir()
    elif content == "link":
        path.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.csv", "", "The table .*/absent.csv must exist; found no such file$"),
        ("link.csv", "link", "link.csv must exist; found a link whose target does not exist$"),
        ("a.csv", "folder", "The table .*/a.csv must be a file; got a folder: name a file in it$"),
        ("a.csv", "pipe", "must be a file; got a pipe: write what comes from it to a file first$"),
        ("a.csv.gz", PACKED, "a.csv.gz must be a CSV file in UTF-8; got a file compressed by gzip: convert"),
        ("a.csv", PACKED, "must be a CSV file in UTF-8; got a file compressed by gzip"),
        (
            "a.parquet",
            PARQUET.getvalue(),
            "must be a CSV file in UTF-8; got a Parquet file: convert it to CSV",
        ),
        ("a.xlsx", b"PK\x03\x04...", "got a ZIP archive or an Excel workbook: convert it to CSV first"),
        ("a.json", b'[{"weight": 1.5}]', "must be a CSV file in UTF-8; got JSON"),
        ("a.csv", f"{HEADER}\n".encode("utf-16"), "must be a CSV file in UTF-8; got text in UTF-16"),
        (
            "a.csv",
            f"{HEADER}\n{ROW}\n".replace(",", ";").encode(),
            "must have its values separated by commas; got semicolons between 6 names in its header",
        ),
        ("a.csv", f"{HEADER}\n".replace(",", "\t").encode(), "separated by commas; got tabs between 6 names"),
        # One column more than the table has, with and without a name.
        (
            "a.csv",
            f"id,{HEADER}\n7,{ROW}\n".encode(),
            "the table's columns and no others; found 'id': leave it",
        ),
        ("a.csv", f",{HEADER}\n7,{ROW}\n".encode(), "the table's columns and no others; found '': leave it"),
    ],
)
def test_an_input_that_is_no_such_table_is_named(
    tmp_path: Path, predict_csv: Predict, name: str, content: bytes | str, message: str
) -> None:
    (tmp_path / "output.csv").write_text("old")
    place(tmp_path / name, content)
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        predict_csv(tmp_path / name)
    assert (tmp_path / "output.csv").read_text() == "old"


def test_a_file_of_a_run_is_not_its_folder(trained_run: RunFolder) -> None:
    for file in (trained_run.best_checkpoint, trained_run.path / CONFIG):
        with pytest.raises(FileNotFoundError, match=f"found a file, {file}: name {trained_run.path}$"):
            RunFolder(file)


@pytest.mark.parametrize("url", ["https://example.org/a.csv", "s3://bucket/a.csv"])
def test_a_url_is_no_file(predict_csv: Predict, url: str) -> None:
    with pytest.raises(ValueError, match=f"The table {url} must be a file; got a URL: download it first"):
        predict_csv(Path(url))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("output.xlsx", r"must end in one of \['.csv', '.parquet'\]; found .*output.xlsx"),
        ("folder.csv", "output must be a file, or a new one; got a folder, .*/folder.csv: choose another"),
        ("pipe.csv", "output must be a file, or a new one; got a pipe, .*/pipe.csv"),
        ("input.csv/output.csv", "output must be a file, or a new one; got a path below a file"),
        ("input.csv", "must be another file than the input"),
    ],
)
def test_a_wrong_output_is_refused(tmp_path: Path, predict_csv: Predict, output: str, message: str) -> None:
    place(tmp_path / "folder.csv", "folder")
    place(tmp_path / "pipe.csv", "pipe")
    with pytest.raises(ValueError, match=message):
        predict_csv(f"{HEADER}\n{ROW}\n", output)
    assert (tmp_path / "input.csv").read_text() == f"{HEADER}\n{ROW}\n"
    assert (tmp_path / "pipe.csv").is_fifo()


@pytest.mark.parametrize("output", ["output.csv", "output.parquet"])
@pytest.mark.parametrize("stop", [OSError("No space left on device"), KeyboardInterrupt()], ids=str)
def test_a_stopped_write_leaves_the_old_output(
    predict_csv: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, stop: BaseException
) -> None:
    (tmp_path / output).write_text("old")
    writer = predictions.WRITERS[Path(output).suffix]

    class Stopped(writer):  # type: ignore[misc, valid-type]
        n_written = 0

        def write(self, table: pa.Table) -> None:
            super().write(table)
            self.n_written += 1
            if self.n_written == 2:
                raise stop

    monkeypatch.setitem(predictions.WRITERS, Path(output).suffix, Stopped)
    with pytest.raises(type(stop)):
        predict_csv("\n".join([HEADER, *[ROW] * 40]), output)
    assert (tmp_path / output).read_text() == "old"


def test_a_run_of_another_table_is_refused(trained_run: RunFolder, predict_csv: Predict) -> None:
    config = trained_run.config
    config.pipeline.drop_columns.columns = []
    OmegaConf.save(config, trained_run.path / "config.yaml")
    with pytest.raises(ValueError, match=f"found another `categorical` in {SCHEMA_FILE}"):
        predict_csv(f"{HEADER}\n{ROW}\n")


def test_a_missing_scaling_is_named(trained_run: RunFolder, predict_csv: Predict) -> None:
    path = trained_run.path / NORMALIZATION_FILE
    content = read_json(path)
    del content["columns"]["weight"]
    write_json(path, content)
    with pytest.raises(ValueError, match="must scale 'weight'; found no such column"):
        predict_csv(f"{HEADER}\n{ROW}\n")


def test_wrong_options_are_refused(trained_run: RunFolder, predict_csv: Predict) -> None:
    with pytest.raises(ValueError, match="batch size must be at least 1; found 0"):
        predict_csv(f"{HEADER}\n{ROW}\n", batch_size=0)
    with pytest.raises(ValueError, match=r"one of \['auto', 'cpu', 'gpu'\]; found 'tpu'"):
        choose_device("tpu")  # type: ignore[arg-type]

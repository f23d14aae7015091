"""The stage: what it writes, for any kind of column and in both formats."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from omegaconf import DictConfig, OmegaConf

from canopy.files import PREPROCESSOR_FILE
from canopy.prepare import normalize
from canopy.prepare.preprocessor import Preprocessor, Vocabulary
from canopy.prepare.scaling import Affine

ROWS = """\
a,b,colour,when,kind
1,10,red,2024-01-01 00:00:00,x
3,,red,2024-06-01 00:00:00,y
1000,10,blue,2024-06-01 00:00:00,x
2,40,,2024-01-01 00:00:00,y
"""
SPLITS = ["train", "train", "test", "train"]


@pytest.fixture
def params(small_params: DictConfig) -> DictConfig:
    interim = Path(small_params.paths.interim)
    interim.mkdir()
    (interim / "drop_columns.csv").write_text(ROWS)
    (interim / "split.csv").write_text("\n".join(["(split)", *SPLITS]) + "\n")
    columns = {
        "a": {"kind": "numeric"},
        "b": {"kind": "numeric", "missing": "median"},
        "colour": {"kind": "categorical", "missing": "category"},
        "when": {"kind": "datetime", "parts": ["month"]},
    }
    small_params.table = OmegaConf.create({"target": {"column": "kind"}, "columns": columns})
    methods = [{"columns": ["a"], "method": "min_max"}, {"columns": ["*"], "method": "z_score"}]
    small_params.normalize.methods = methods
    return small_params


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_normalize_fits_training_rows_and_scales_all_rows(params: DictConfig, suffix: str) -> None:
    params.paths.format = suffix
    if suffix == "parquet":
        nulls = pa.csv.ConvertOptions(strings_can_be_null=True)
        for path in [*Path(params.paths.interim).iterdir()]:
            table = pa.csv.read_csv(path, convert_options=nulls)
            pa.parquet.write_table(table, path.with_suffix(".parquet"))
    normalize.run(params)
    learnt = Preprocessor.load(Path(params.paths.processed) / PREPROCESSOR_FILE)
    assert learnt.numeric == {
        "a": Affine(method="min_max", center=1, scale=2),
        "b": Affine(method="z_score", center=25, scale=15, fill=25),
    }
    assert learnt.categorical == {"colour": Vocabulary(values=("red",), has_missing=True)}
    assert (learnt.indicators, learnt.classes) == (("b",), ("x", "y"))
    path = Path(params.paths.interim) / f"normalize.{suffix}"
    found = pa.csv.read_csv(path) if suffix == "csv" else pa.parquet.read_table(path)
    names = ["a", "b", "when.month_sin", "when.month_cos", "colour", "b (missing)", "kind", "(split)"]
    assert found.column_names == names
    assert found["a"].to_pylist() == [0, 1, 499.5, 0.5]
    assert found["b"].to_pylist() == [-1, 0, -1, 1]
    assert found["b (missing)"].to_pylist() == [0, 1, 0, 0]
    # An unseen category stays what it is; the tensors have a code for it.
    assert [value or None for value in found["colour"].to_pylist()] == ["red", "red", "blue", None]
    assert found["when.month_sin"].to_pylist() == pytest.approx([0.5, 0, 0, 0.5], abs=1e-6)
    assert found["(split)"].to_pylist() == SPLITS


def test_normalize_refuses_a_split_of_another_table(params: DictConfig) -> None:
    (Path(params.paths.interim) / "split.csv").write_text("(split)\ntrain\ntest\ntrain\n")
    with pytest.raises(ValueError, match=r"for each of 4 rows; got 3: run \"make repro\""):
        normalize.run(params)
    assert not (Path(params.paths.interim) / "normalize.csv").exists()


def test_normalize_takes_a_table_without_numeric_columns(params: DictConfig) -> None:
    interim = Path(params.paths.interim)
    (interim / "drop_columns.csv").write_text("colour,kind\nred,x\nred,y\nblue,x\n,y\n")
    params.table.columns = {"colour": {"kind": "categorical", "missing": "category"}}
    params.normalize.methods = [{"columns": ["*"], "method": "z_score"}]
    normalize.run(params)
    assert pa.csv.read_csv(interim / "normalize.csv").column_names == ["colour", "kind", "(split)"]


def test_each_numeric_column_needs_a_method(params: DictConfig) -> None:
    for names, method, message in (
        ("a", "z_score", "match each numeric column; found none for 'b'"),
        ("*", "zscore", r"use one of \[.*\]; got 'zscore'"),
    ):
        params.normalize.methods = [{"columns": [names], "method": method}]
        with pytest.raises(ValueError, match=f"normalize.methods must {message}"):
            normalize.run(params)

"""A column of kind weight goes through the stages into the tensors; values that are no weights end them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from canopy.data.datamodule import TensorDataModule
from canopy.data.dataset import load_rows
from canopy.files import SPLITS, read_json
from canopy.prepare import cap_classes, drop_columns, make_tensors, normalize, split
from canopy.prepare.preprocessor import Preprocessor
from canopy.schema import TableSchema
from canopy.schema.tensors import SCHEMA_FILE, Schema
from canopy.tables.rows import TableReader
from canopy.tasks.losses import make_class_weights
from canopy.tasks.task import task_of

STAGES = (drop_columns, split, normalize, cap_classes, make_tensors)


@pytest.fixture
def weighted(small_params: DictConfig, raw_table: Path) -> DictConfig:
    """A table of 300 rows with weights of about 100, 200 and 300 in its three classes."""
    small_params.normalize.target = "z_score"
    small_params.table.columns.weight = {"kind": "weight"}
    return small_params


def prepare(params: DictConfig) -> Schema:
    for stage in STAGES:
        stage.run(params)
    return Schema.load(Path(params.paths.processed) / SCHEMA_FILE)


def rewrite(params: DictConfig, weights: object) -> pd.DataFrame:
    table = pd.read_csv(params.paths.raw).assign(weight=weights)
    table.to_csv(params.paths.raw, index=False)
    return table


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_weights_are_in_the_tensors_and_in_no_feature(weighted: DictConfig, file_format: str) -> None:
    weighted.paths.format = file_format
    schema = prepare(weighted)
    raw = pd.read_csv(weighted.paths.raw)
    splits = (Path(weighted.paths.interim) / f"split.{file_format}").as_posix()
    of_row = (pd.read_csv if file_format == "csv" else pd.read_parquet)(splits)["(split)"]
    assert schema.numeric == ("size",)
    assert schema.weight_sums is not None
    for name in ("val", "test"):
        rows = load_rows(weighted.paths.processed, name, schema).rows
        expected = raw.weight[of_row == name]
        assert rows.weights.dtype == torch.float32
        np.testing.assert_array_equal(rows.weights, expected.astype(np.float32))
        sums = expected.groupby(raw.kind).sum()
        np.testing.assert_allclose(schema.class_sizes[name], sums)
    before = raw.weight[of_row == "train"].groupby(raw.kind).sum()
    np.testing.assert_allclose(schema.class_sizes["train_before_cap"], before)
    assert schema.class_counts["train"] == (10, 10, 10), "the cap is of rows"
    balanced = make_class_weights("balanced", schema, counts_of="train_before_cap")
    np.testing.assert_allclose(balanced, before.sum() / 3 / before, rtol=1e-6)
    shares = (np.array(schema.class_sizes[name]) for name in ("train", "train_before_cap"))
    after, first = (found / found.sum() for found in shares)
    np.testing.assert_allclose(task_of(schema).log_prior_ratio(), np.log(after / first), rtol=1e-5)
    data = TensorDataModule(
        weighted.paths.processed, batch_size=8, eval_batch_size=8, seed=0, train_splits=["train", "val"]
    )
    assert data.schema.class_sizes["train"][0] == pytest.approx(
        schema.class_sizes["train"][0] + schema.class_sizes["val"][0]
    )
    assert len(data.rows("train").weights) == sum(data.schema.class_counts["train"])


def test_a_table_without_weights_has_nothing_of_them(weighted: DictConfig) -> None:
    for dropped in (True, False):
        weighted.drop_columns.columns = ["weight"] if dropped else []
        weighted.table.columns.weight = {"kind": "weight" if dropped else "ignored"}
        schema = prepare(weighted)
        folder = Path(weighted.paths.processed)
        assert [*torch.load(folder / "train/00000.pt")] == ["numeric", "categorical", "labels"]
        rows = load_rows(folder, "train", schema).rows
        assert (rows.weights.shape, rows.row_weights) == ((30, 0), None)
        assert "weight_sums" not in read_json(folder / SCHEMA_FILE)
        assert {*read_json(Path(weighted.paths.reports) / "class_cap.json")} == {"before", "after", "rows"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "'weight' must be from 0 to inf; got '-1.0' in line 2"),
        (None, "'weight' must have a value in every row; got none in line 2"),
        ("heavy", "'weight' must be a number; got 'heavy' in line 2"),
    ],
)
def test_a_value_that_is_no_weight_ends_the_stage(weighted: DictConfig, value: object, message: str) -> None:
    weights = [value, *np.ones(299)]
    rewrite(weighted, weights)
    with pytest.raises(ValueError, match=message) as caught:
        drop_columns.run(weighted)
    assert len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize("zero", ["train", "val"])
def test_a_split_without_any_weight_is_refused(weighted: DictConfig, zero: str) -> None:
    for stage in (drop_columns, split):
        stage.run(weighted)
    splits = pd.read_csv(Path(weighted.paths.interim) / "split.csv")["(split)"]
    rewrite(weighted, np.where(splits == zero, 0, 1.5))
    message = f"weight above 0 in each split; got 0 in all rows of {zero}: .* drop_columns.columns"
    with pytest.raises(ValueError, match=message):
        prepare(weighted)


def test_a_numeric_target_has_weights_too(weighted: DictConfig) -> None:
    weighted.table.target = {"column": "size", "kind": "numeric"}
    weighted.table.columns = {
        "weight": {"kind": "weight"},
        "kind": {"kind": "categorical"},
        "colour1": {"kind": "numeric"},
    }
    weighted.cap_classes.max_per_class = None
    schema = prepare(weighted)
    assert schema.weight_sums is not None
    for name in SPLITS:
        rows = load_rows(weighted.paths.processed, name, schema).rows
        assert schema.weight_sums[name] == pytest.approx((float(rows.weights.double().sum()),))


def test_predictions_need_no_weights_and_do_not_read_them(weighted: DictConfig) -> None:
    prepare(weighted)
    own = TableSchema.parse(
        {"target": {"column": "kind"}, "columns": {"size": {"kind": "numeric"}, "weight": {"kind": "weight"}}}
    )
    preprocessor = Preprocessor.load(Path(weighted.paths.processed) / "preprocessor.json")
    table = rewrite(weighted, ["any"] * 300)
    path = Path(weighted.paths.raw)
    for columns in (["size", "weight"], ["size"]):
        table[columns].to_csv(path, index=False)
        reader = TableReader(path, preprocessor.restrict(own), with_target=False)
        assert [batch.schema.names for batch in reader.valid_batches()] == [["size"]]
        assert not reader.problems.counts


def test_there_is_one_column_of_weights() -> None:
    columns = {"a": {"kind": "numeric"}, "v": {"kind": "weight"}, "w": {"kind": "weight"}}
    with pytest.raises(ValueError, match="one column of kind weight at most; got v, w"):
        TableSchema.parse({"target": {"column": "y"}, "columns": columns})

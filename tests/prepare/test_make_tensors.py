from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from canopy.data.dataset import Batch, load_rows
from canopy.files import PREPROCESSOR_FILE, SPLITS, write_json
from canopy.prepare import make_tensors
from canopy.prepare.make_tensors import N_QUANTILE_STEPS, spread_values
from canopy.prepare.preprocessor import Preprocessor, Vocabulary
from canopy.prepare.scaling import Affine
from canopy.schema.tensors import SCHEMA_FILE, Schema

COLOURS = ("colour1", "colour2", "colour3")
ROWS = ["0.5,1,colour2,3,train", "-1.5,2,colour1,1,val", "2,3,colour3,2,train", "7,8,colour1,1,test"]


def make(
    params: DictConfig,
    *,
    colours: tuple[str, ...] = COLOURS,
    classes: str = "123",
    colour1: str = "colour1",
    n_train: int = 2,
) -> tuple[Schema, dict[str, Batch]]:
    """Run the stage on what `cap_classes` leaves of four rows, with these learnt categories and classes."""
    interim, processed = Path(params.paths.interim), Path(params.paths.processed)
    interim.mkdir()
    lines = "\n".join(["weight,size,colour,kind,(split)", *ROWS]) + "\n"
    (interim / "cap_classes.csv").write_text(lines.replace("colour1", colour1))
    Preprocessor(
        numeric=dict.fromkeys(["weight", "size"], Affine(method="none", center=0, scale=1)),
        categorical={"colour": Vocabulary(values=colours)},
        datetime={},
        indicators=(),
        classes=tuple(classes),
    ).save(processed / PREPROCESSOR_FILE)
    counts = {"Apple": 2, "Pear": 1, "Plum": 5}
    report = {"before": counts, "after": counts, "rows": {"train": n_train, "val": 1, "test": 1}}
    write_json(f"{params.paths.reports}/class_cap.json", report)
    make_tensors.run(params)
    schema = Schema.load(processed / SCHEMA_FILE)
    return schema, {split: load_rows(processed, split, schema).rows for split in SPLITS}


def test_make_tensors_writes_rows_and_schema(small_params: DictConfig) -> None:
    schema, rows = make(small_params)
    train = rows["train"]
    assert torch.equal(train.numeric, torch.tensor([[0.5, 1], [2, 3]]))
    assert (train.categorical.tolist(), train.categorical.dtype) == ([[1], [2]], torch.uint8)
    assert (train.labels.tolist(), rows["val"].labels.tolist()) == ([2, 1], [0])
    assert schema.class_values == ("1", "2", "3")
    counts = {"train": (0, 1, 1), "val": (1, 0, 0), "test": (1, 0, 0)}
    assert schema.class_counts == {"train_before_cap": (2, 1, 5), **counts}


@pytest.mark.parametrize("n_train", [1, 3])
def test_report_of_another_table_is_refused(small_params: DictConfig, n_train: int) -> None:
    with pytest.raises(ValueError, match="class_cap.json must be of .*'train': 2"):
        make(small_params, n_train=n_train)
    assert not [*Path(small_params.paths.processed).rglob("*.pt")]


def test_labels_follow_the_order_of_the_classes(small_params: DictConfig) -> None:
    small_params.table.target.classes = {2: "Pear", 3: "Plum", 1: "Apple"}
    schema, rows = make(small_params, classes="231")
    assert schema.class_names == ("Pear", "Plum", "Apple")
    assert rows["train"].labels.tolist() == [1, 0]


def test_unseen_category_has_the_code_after_the_last_one(small_params: DictConfig) -> None:
    """Also where the codes of the others just fit into a byte."""
    others = tuple(f"c{index}" for index in range(253))
    schema, rows = make(small_params, colours=(*COLOURS, *others), colour1="new")
    assert rows["val"].categorical.tolist() == [[256]] == [[*schema.cardinalities]]


def test_spread_values_are_quantiles_and_rarer_values() -> None:
    order = np.random.default_rng(0).permutation(1000)
    steps = spread_values(np.arange(1000.0)[order])
    assert (len(steps), steps[0], steps[64], steps[-1]) == (N_QUANTILE_STEPS + 1, 0, 500, 999)
    assert {*np.diff(steps).tolist()} == {7, 8}
    assert spread_values(np.repeat([0.0, -1], [999, 1])[order]) == (-1, 0)
    # Seven rows in ten are 0, and the others are distinguished none the less.
    assert spread_values(np.array([-2.4e-16, 0.0, 1.2e-16, 0.5])) == (0, 0.5)
    many = spread_values(np.where(np.arange(1000) < 300, np.arange(1000.0), 0)[order])
    assert (len(many), many[0], many[-1]) == (N_QUANTILE_STEPS + 1, 0, 299)
    assert max(np.diff(many)) <= 4

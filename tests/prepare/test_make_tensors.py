from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from canopy.data.dataset import load_rows
from canopy.files import PREPROCESSOR_FILE, write_json
from canopy.prepare import make_tensors
from canopy.prepare.make_tensors import N_QUANTILE_STEPS, quantiles_of
from canopy.prepare.preprocessor import Preprocessor, Vocabulary
from canopy.prepare.reductions import Sample
from canopy.prepare.scaling import Affine
from canopy.schema.tensors import SCHEMA_FILE, Schema

ROWS = [
    "0.5,1,colour2,3,train",
    "-1.5,2,colour1,1,val",
    "2,3,colour3,2,train",
    "7,8,colour1,1,test",
]


@pytest.fixture
def capped(small_params: DictConfig) -> DictConfig:
    """What `cap_classes` leaves, of four rows."""
    interim, processed = Path(small_params.paths.interim), Path(small_params.paths.processed)
    for folder in (interim, processed, Path(small_params.paths.reports)):
        folder.mkdir()
    header = "weight,size,colour,kind,(split)"
    (interim / "cap_classes.csv").write_text("\n".join([header, *ROWS]) + "\n")
    save_preprocessor(small_params, colours=("colour1", "colour2", "colour3"))
    counts = {"Apple": 2, "Pear": 1, "Plum": 5}
    write_json(f"{small_params.paths.reports}/class_cap.json", {"before": counts, "after": counts})
    return small_params


def save_preprocessor(
    params: DictConfig, *, colours: tuple[str, ...], classes: tuple[str, ...] = ("1", "2", "3")
) -> None:
    Preprocessor(
        numeric=dict.fromkeys(["weight", "size"], Affine(method="none", center=0, scale=1)),
        datetime={},
        categorical={"colour": Vocabulary(values=colours)},
        indicators=(),
        classes=classes,
    ).save(Path(params.paths.processed) / PREPROCESSOR_FILE)


def test_rows_become_tensors(capped: DictConfig) -> None:
    make_tensors.run(capped)
    folder = Path(capped.paths.processed)
    schema = Schema.load(folder / SCHEMA_FILE)
    rows = load_rows(folder, "train", schema).rows
    assert torch.equal(rows.numeric, torch.tensor([[0.5, 1], [2, 3]]))
    assert rows.numeric.dtype == torch.float32
    assert rows.categorical.tolist() == [[1], [2]]
    assert rows.categorical.dtype == torch.uint8
    assert rows.labels.tolist() == [2, 1]
    assert load_rows(folder, "val", schema).rows.labels.tolist() == [0]
    assert schema.class_values == ("1", "2", "3")
    assert schema.class_counts == {
        "train_before_cap": (2, 1, 5),
        "train": (0, 1, 1),
        "val": (1, 0, 0),
        "test": (1, 0, 0),
    }


def test_labels_follow_the_order_of_the_classes(capped: DictConfig) -> None:
    capped.table.target.classes = None
    capped.table.target.classes = {2: "Pear", 3: "Plum", 1: "Apple"}
    save_preprocessor(capped, colours=("colour1", "colour2", "colour3"), classes=("2", "3", "1"))
    make_tensors.run(capped)
    folder = Path(capped.paths.processed)
    schema = Schema.load(folder / SCHEMA_FILE)
    assert schema.class_names == ("Pear", "Plum", "Apple")
    assert load_rows(folder, "train", schema).rows.labels.tolist() == [1, 0]


def test_a_row_whose_column_was_dropped_is_other(capped: DictConfig) -> None:
    capped.drop_columns.columns = ["colour1"]
    save_preprocessor(capped, colours=("colour2", "colour3", "other"))
    table = Path(capped.paths.interim) / "cap_classes.csv"
    table.write_text(table.read_text().replace("colour1", "other"))
    make_tensors.run(capped)
    folder = Path(capped.paths.processed)
    schema = Schema.load(folder / SCHEMA_FILE)
    found = [load_rows(folder, split, schema).rows.categorical.tolist() for split in ("train", "val", "test")]
    assert found == [[[0], [1]], [[2]], [[2]]]
    assert schema.categorical[0].categories == ("colour2", "colour3", "other")
    assert schema.cardinalities == (3,)


def test_an_unseen_category_has_the_code_after_the_last_one(capped: DictConfig) -> None:
    """Also where the codes of the others just fit into a byte."""
    others = tuple(f"c{index}" for index in range(253))
    save_preprocessor(capped, colours=("colour1", "colour2", "colour3", *others))
    table = Path(capped.paths.interim) / "cap_classes.csv"
    table.write_text(table.read_text().replace("colour1", "new"))
    make_tensors.run(capped)
    folder = Path(capped.paths.processed)
    schema = Schema.load(folder / SCHEMA_FILE)
    assert load_rows(folder, "val", schema).rows.categorical.tolist() == [[256]] == [[*schema.cardinalities]]


def test_quantiles_stand_in_the_rows_from_the_smallest_to_the_largest() -> None:
    order = np.random.default_rng(0).permutation(1000)
    sample = Sample(seed=0)
    rare, spiky = np.zeros((2, 1000))
    rare[7] = -1
    spiky[:300] = np.arange(300)
    columns = {"steps": np.arange(1000.0), "rare": rare, "spiky": spiky}
    sample.update({name: values[order] for name, values in columns.items()}, 1000)
    steps, few, many = quantiles_of(sample, [*columns])
    assert len(steps) == N_QUANTILE_STEPS + 1
    assert (steps[0], steps[64], steps[-1]) == (0, 500, 999)
    assert {*np.diff(steps).tolist()} == {7, 8}
    assert few == (-1, 0)
    # Seven rows in ten are 0, and the others are reported apart none the less.
    assert len(many) == N_QUANTILE_STEPS + 1
    assert max(np.diff(many)) <= 4
    assert (many[0], many[-1]) == (0, 299)

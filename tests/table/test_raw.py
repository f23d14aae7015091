"""Texts, missing values and ignored columns of the raw table."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf

from canopy.table.blocks import check_source, read_blocks
from canopy.table.kept import kept_table
from canopy.table.raw import read_raw_columns, read_raw_table
from canopy.table.spec import TableSpec

HEADER = "weight,size,taste,shop,note,kind\n"
Write = Callable[..., Path]


@pytest.fixture
def text_params(small_params: DictConfig) -> DictConfig:
    """A table with two columns of text, a number that may be missing and classes of text."""
    table = small_params.table
    table.pop("one_hot")
    table.numeric.size.missing = "median"
    table.text = {
        "taste": {"meaning": "Taste", "categories": {"sweet": "sweet", "sour, or bitter": "not sweet"}},
        "shop": {"meaning": "Shop", "categories": {1: "first", 2: "second"}, "missing": "category"},
    }
    table.target.classes = {"apple": "Apple", "pear": "Pear"}
    table.ignored = ["note"]
    table.missing_values = ["", "?"]
    return small_params


@pytest.fixture
def text_spec(text_params: DictConfig) -> TableSpec:
    return TableSpec.from_config(text_params.table)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def call(*lines: str, header: str = HEADER) -> Path:
        path = tmp_path / "raw.csv"
        path.write_text(header + "".join(line + "\n" for line in lines))
        return path

    return call


def test_texts_become_columns_and_gaps_are_told(text_spec: TableSpec, write: Write) -> None:
    table = read_raw_table(write('1.5,?,"sour, or bitter",2,"a, b",pear', "2,3,sweet,,,apple"), text_spec)
    assert table.to_pydict() == {
        "weight": [1.5, 2],
        "size": [None, 3],
        "taste=sweet": [0, 1],
        "taste=sour, or bitter": [1, 0],
        "shop=1": [0, 0],
        "shop=2": [1, 0],
        "shop=": [0, 1],
        "size_missing=no": [0, 1],
        "size_missing=yes": [1, 0],
        "kind": ["pear", "apple"],
    }
    assert table.column_names == text_spec.columns


def test_blocks_are_read_as_the_whole_table_is(text_spec: TableSpec, write: Write) -> None:
    lines = ["1,?,sweet,2,,pear", '2,3,"sour, or bitter",?,x,apple', "3,4,sweet,1,,pear"] * 20
    path = write(*lines)
    check_source(path, text_spec)
    whole = read_raw_table(path, text_spec)
    blocks = [*read_blocks(path, text_spec, description="", block_bytes=200)]
    assert len(blocks) > 3
    for name in text_spec.features:
        found = np.concatenate([block[name].to_numpy() for block in blocks])
        np.testing.assert_array_equal(found, whole[name].to_numpy())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "1,2,swet,1,,pear",
            "column 'taste' must hold one of the categories of params.yaml; found 'swet' in "
            "line 3 (did you mean 'sweet'?)",
        ),
        (
            "1,2,?,1,,pear",
            "column 'taste' must have a value in every row; found none in line 3; "
            "table.text.taste.missing=category makes that a category",
        ),
        (
            "?,2,sweet,1,,pear",
            "column 'weight' must have a value in every row; found none in line 3: give one, or say "
            "table.numeric.weight.missing: median in params.yaml before training",
        ),
        ("1,many,sweet,1,,pear", "'size' must hold numbers; found 'many' in line 3"),
        ("1,inf,sweet,1,,pear", "'size' must be finite; found inf in line 3"),
    ],
)
def test_a_wrong_value_is_told_with_its_line(
    text_spec: TableSpec, write: Write, line: str, message: str
) -> None:
    path = write("1,2,sweet,1,,pear", line)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_raw_table(path, text_spec)
    with pytest.raises(ValueError, match=re.escape(message)):
        [*read_blocks(path, text_spec, description="")]


@pytest.mark.parametrize("label", ["plum", "?"])
def test_a_class_that_is_none_is_refused(text_spec: TableSpec, write: Write, label: str) -> None:
    path = write("1,2,sweet,1,,pear", f"1,2,sweet,1,,{label}")
    with pytest.raises(ValueError, match=r"'kind' must .* in line 3"):
        read_raw_table(path, text_spec)


def test_the_exploration_reads_unknown_texts(text_spec: TableSpec, write: Write) -> None:
    table = read_raw_columns(write("1,2,salty,1,,pear"), text_spec)
    assert table["taste=sweet"].to_pylist() == table["taste=sour, or bitter"].to_pylist() == [0]


def test_an_ignored_column_may_be_absent(text_spec: TableSpec, write: Write) -> None:
    path = write("1,2,sweet,1,pear", header="weight,size,taste,shop,kind\n")
    assert read_raw_table(path, text_spec).num_rows == 1


def test_a_dropped_column_takes_all_that_was_made_of_it_along(text_params: DictConfig) -> None:
    text_params.drop_columns.columns = ["size", "taste"]
    kept = kept_table(text_params)
    assert kept.columns == ["weight", "shop=1", "shop=2", "shop=", "kind"]
    text_params.drop_columns.columns = ["taste=sweet"]
    assert not kept_table(text_params).groups[0].complete


def test_classes_are_numbers_where_they_are_written_like_some(text_params: DictConfig) -> None:
    text_params.table.target.classes = OmegaConf.create({"1": "Apple", 2: "Pear"})
    assert TableSpec.from_config(text_params.table).classes == {1: "Apple", 2: "Pear"}
    text_params.table.target.classes = OmegaConf.create({"01": "Apple", 2: "Pear"})
    assert TableSpec.from_config(text_params.table).classes == {"01": "Apple", "2": "Pear"}

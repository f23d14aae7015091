import re

import pytest
from omegaconf import DictConfig, OmegaConf

from canopy.table.names import match_columns
from canopy.table.spec import TableSpec
from odd_names import ODD_NAMES


def test_columns_stand_in_the_tables_order(small_spec: TableSpec) -> None:
    assert small_spec.columns == ["weight", "size", "colour1", "colour2", "colour3", "kind"]


def test_the_real_table_has_its_55_columns(params: DictConfig) -> None:
    spec = TableSpec.from_config(params.table)
    assert len(spec.columns) == 55
    assert len(spec.classes) == 7


def test_without_makes_a_cut_group_incomplete_and_removes_an_empty_one(small_spec: TableSpec) -> None:
    cut = small_spec.without(["colour2", "size"])
    assert cut.columns == ["weight", "colour1", "colour3", "kind"]
    assert not cut.groups[0].complete
    assert small_spec.groups[0].complete
    assert small_spec.without(["colour1", "colour2", "colour3"]).groups == ()


def test_without_keeps_target_and_a_feature(small_spec: TableSpec) -> None:
    with pytest.raises(ValueError, match="target must stay; found 'kind'"):
        small_spec.without(["kind"])
    with pytest.raises(ValueError, match="At least one feature must stay"):
        small_spec.without(small_spec.features)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"numeric": {"kind": {"unit": "", "meaning": ""}}}, "each column once; found 'kind' twice"),
        ({"target": {"classes": {4: "Plum"}}}, "each class name once; found 'Plum' twice"),
    ],
)
def test_a_repeated_name_is_refused(small_params: DictConfig, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TableSpec.from_config(OmegaConf.merge(small_params.table, change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": {"classes": {False: "Fig"}}}, "must put the keys of table.target.classes in quotes"),
        (
            {"text": {"land": {"meaning": "", "categories": {False: "Norway"}}}},
            "table.text.land.categories in",
        ),
        (
            {"text": {"land": {"meaning": "", "categories": {1e5: "many"}}}},
            "of table.text.land.categories in quotes where they are no integers; got 100000.0",
        ),
        (
            {"text": {"land": {"meaning": "", "categories": {"?": "nowhere"}}}, "missing_values": ["?"]},
            "must give no missing value in table.text.land.categories; found '?'",
        ),
        (
            {"text": {"weight": {"meaning": "", "categories": {"a": "a"}}}},
            "column once; found 'weight' twice",
        ),
        ({"ignored": ["size"]}, "each column once; found 'size' twice"),
    ],
)
def test_a_word_that_is_read_otherwise_is_refused(
    small_params: DictConfig, change: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        TableSpec.from_config(OmegaConf.merge(small_params.table, change))


def test_one_class_is_refused(small_params: DictConfig) -> None:
    small_params.table.target.classes = {1: "Apple"}
    with pytest.raises(ValueError, match="at least two classes in table.target.classes; found 1"):
        TableSpec.from_config(small_params.table)


def test_patterns_choose_in_the_tables_order() -> None:
    names = ["a1", "a2", "b"]
    assert match_columns(names, ["b", "a?"]) == ["a1", "a2", "b"]
    assert match_columns(names, []) == []


@pytest.mark.parametrize("name", [name for name in ODD_NAMES if name != "*"])
def test_match_columns_prefers_the_column_of_that_name(name: str) -> None:
    names = [*ODD_NAMES, "abc", "x"]
    assert match_columns(names, [name]) == [name]
    assert match_columns(names, ["*"]) == names


def test_a_pattern_without_a_match_names_the_nearest_column() -> None:
    with pytest.raises(ValueError, match=r"found 'Elevatoin', which matches none \(did you mean 'Elevation'"):
        match_columns(["Elevation", "Slope"], ["Elevatoin"])

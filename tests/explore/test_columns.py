from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from canopy.explore.columns import (
    N_LISTED,
    N_MOST_FREQUENT,
    describe_categories,
    describe_columns,
    describe_target,
    find_constant,
    summarize_numeric,
)
from canopy.explore.profile import Profile
from canopy.schema import TableSchema
from canopy.schema.columns import Categorical


def test_each_column_is_described_by_kind_and_values(
    trips: tuple[pd.DataFrame, TableSchema], profile_of: Callable[..., Profile]
):
    frame, schema = trips
    frame.loc[:199, "km"] = np.nan
    frame.loc[200:349, "km"] = 7.5
    columns = describe_columns(profile_of(frame, schema))
    assert [(name, column["kind"]) for name, column in columns.items()] == [
        ("km", "numeric"),
        ("city", "categorical"),
        ("start", "datetime"),
        ("label", "target"),
        ("id", "key"),
        ("note", "ignored"),
    ]
    assert columns["km"] == {
        "kind": "numeric",
        "meaning": "",
        "unit": "",
        "n_missing": 200,
        "n_out_of_range": 0,
        "n_distinct": frame["km"].nunique(),
        "is_lower_bound": False,
        "most_frequent": 7.5,
        "most_frequent_share": 0.75,
    }
    assert columns["city"]["most_frequent"] == "Bern"
    assert columns["start"]["most_frequent"] == str(frame["start"].mode()[0])
    assert columns["id"] == {"kind": "key", "meaning": ""}


def test_an_empty_column_is_described(frame: pd.DataFrame, profile_of: Callable[..., Profile]):
    found = profile_of(frame.assign(weight=np.nan))
    columns = describe_columns(found)
    assert (columns["weight"]["n_missing"], columns["weight"]["most_frequent"]) == (100, None)
    assert [*summarize_numeric(found)] == ["size"]


def test_the_limit_itself_is_nearly_constant_and_a_missing_category_is_a_value():
    def column(kind: str, n_distinct: int, share: float, n_missing: int = 0) -> dict[str, object]:
        return {"kind": kind, "n_distinct": n_distinct, "most_frequent_share": share, "n_missing": n_missing}

    columns = {
        "all": column("categorical", 1, 1.0),
        "some missing": column("categorical", 1, 1.0, 10),
        "number or missing": column("numeric", 1, 1.0, 10),
        "most": column("numeric", 2, 0.99),
        "mostly missing": column("numeric", 5, 0.2, 99),
        "some": column("numeric", 2, 0.98),
        "label": column("target", 1, 1.0),
    }
    parts = {"x": {"n_rows": 100}, "y": {"n_rows": 0}, "z": {"n_rows": 1}}
    categories = {"group": {"is_one_hot": True, "categories": parts}}
    assert find_constant(columns, categories, 100, 0.99) == {
        "constant": ["all", "number or missing", "y"],
        "nearly_constant": ["most", "mostly missing", "z"],
    }


def test_numeric_summary_gives_quartiles_and_spread(frame: pd.DataFrame, profile_of: Callable[..., Profile]):
    frame = frame[:5].assign(weight=[4.0, 1.0, 2.0, 3.0, 0.0])
    assert summarize_numeric(profile_of(frame))["weight"] == {
        "min": 0,
        "lower_quartile": 1,
        "median": 2,
        "upper_quartile": 3,
        "max": 4,
        "mean": 2,
        "standard_deviation": 1.41421,
    }


def test_the_target_has_counts_shares_and_entropy(small_schema: TableSchema):
    classes = small_schema.target.classes
    assert isinstance(classes, dict)
    target = describe_target(small_schema.target, classes, np.array([3, 1, 0]))
    assert target["classes"] == {
        "Apple": {"value": "1", "n_rows": 3, "share": 0.75},
        "Pear": {"value": "2", "n_rows": 1, "share": 0.25},
        "Plum": {"value": "3", "n_rows": 0, "share": 0},
    }
    assert target["rare"] == ["Pear", "Plum"]
    assert target["largest_to_smallest"] == 3
    assert target["entropy_nat"] == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25), rel=1e-5)


def test_categories_have_the_classes_of_their_rows(small_schema: TableSchema):
    counts = np.array([[2, 1], [0, 1], [4, 0]])
    found = describe_categories(
        small_schema.categorical["colour"], ["colour1", "colour2", None], counts, ["a", "b"]
    )
    assert found["categories"]["colour1"] == {
        "name": "red",
        "n_rows": 3,
        "share": 0.375,
        "class_shares": {"a": 0.6667, "b": 0.3333},
        "information_nat": 0.01089,
    }
    assert found["categories"]["colour3"]["n_rows"] == 0
    assert found["missing"]["n_rows"] == 4
    assert (found["n_values"], found["is_one_hot"], found["others"]) == (2, True, None)


def test_of_many_categories_the_most_frequent_are_listed_and_the_others_added_up():
    n_values = N_LISTED + 10
    counts = np.arange(n_values, 0, -1)[:, None]
    found = describe_categories(Categorical(), [f"v{index}" for index in range(n_values)], counts, ["a"])
    assert [*found["categories"]] == [f"v{index}" for index in range(N_MOST_FREQUENT)]
    assert found["others"]["n_values"] == n_values - N_MOST_FREQUENT
    assert found["others"]["n_rows"] == counts[N_MOST_FREQUENT:].sum()
    assert found["n_rare"] == 9


def test_values_that_are_not_listed_are_counted():
    column = Categorical(categories={"a": "A"})
    found = describe_categories(column, ["b", "a"], np.array([[2], [1]]), ["x"])
    assert found["n_unlisted"] == 1
    assert [category["name"] for category in found["categories"].values()] == ["b", "A"]

import numpy as np
import pytest

from canopy.explore.classes import N_LISTED, N_MOST_FREQUENT, describe_categories, describe_target
from canopy.schema import TableSchema
from canopy.schema.columns import Categorical


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

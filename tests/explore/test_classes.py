import numpy as np
import pandas as pd
import pytest
from canopy.table.spec import TableSpec

from canopy.explore.classes import class_codes, count_classes, describe_group, describe_target, group_codes


def test_codes_follow_the_order_of_the_classes(small_spec: TableSpec):
    assert class_codes(pd.Series([3, 1, 2]), small_spec).tolist() == [2, 0, 1]


def test_the_target_has_counts_shares_and_entropy(small_spec: TableSpec):
    target = describe_target(np.array([0, 0, 0, 1]), small_spec, meaning="Kind")
    assert target["classes"] == {
        "Apple": {"value": 1, "n_rows": 3, "share": 0.75},
        "Pear": {"value": 2, "n_rows": 1, "share": 0.25},
        "Plum": {"value": 3, "n_rows": 0, "share": 0},
    }
    assert target["largest_to_smallest"] == 3
    assert target["entropy_nat"] == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25), rel=1e-5)


def test_rows_that_set_no_or_several_columns_of_a_group_are_counted(small_spec: TableSpec):
    frame = pd.DataFrame({"colour1": [1, 0, 1, 0], "colour2": [0, 0, 1, 0], "colour3": [0, 0, 0, 1]})
    codes, n_broken_rows = group_codes(frame, small_spec.groups[0])
    assert codes.tolist() == [0, 3, 3, 2]
    assert n_broken_rows == 2


def test_a_group_shows_the_classes_of_each_category(small_spec: TableSpec):
    codes = np.array([0, 0, 1, 1])
    columns = {"colour1": [True, True, True, False], "colour2": [False, False, False, True]}
    counts = {name: count_classes(np.array(is_set), codes, 3) for name, is_set in columns.items()}
    counts["colour3"] = count_classes(np.zeros(4, dtype=bool), codes, 3)
    group = describe_group(small_spec.groups[0], counts, small_spec, n_broken_rows=0)
    assert group["categories"]["colour1"] == {
        "name": "red",
        "n_rows": 3,
        "share": 0.75,
        "class_shares": {"Apple": 0.6667, "Pear": 0.3333},
    }
    assert group["categories"]["colour3"] == {"name": "blue", "n_rows": 0, "share": 0, "class_shares": {}}

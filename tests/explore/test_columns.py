import numpy as np
import pandas as pd
import pytest
from canopy.table.spec import TableSpec

from canopy.explore.columns import describe_columns, find_constant, summarize_numeric


def test_each_column_is_described_by_kind_and_values(frame: pd.DataFrame, small_spec: TableSpec):
    columns = describe_columns(frame, small_spec)
    assert list(columns) == small_spec.columns
    assert columns["colour1"] == {
        "kind": "one-hot",
        "meaning": "red",
        "group": "colour",
        "n_missing": 0,
        "n_distinct": 2,
        "most_frequent": 0,
        "most_frequent_share": 0.5,
    }
    assert columns["weight"]["unit"] == "g"
    assert columns["kind"]["kind"] == "target"
    assert columns["kind"]["most_frequent"] == 1


def test_missing_values_are_counted_and_left_out_of_shares(frame: pd.DataFrame, small_spec: TableSpec):
    frame = frame.astype({"size": float})
    frame.loc[:79, "size"] = np.nan
    frame.loc[80:94, "size"] = 7
    frame["weight"] = np.nan
    columns = describe_columns(frame, small_spec)
    assert (columns["size"]["n_missing"], columns["size"]["most_frequent"]) == (80, 7)
    assert columns["size"]["most_frequent_share"] == 0.75
    assert (columns["weight"]["n_missing"], columns["weight"]["most_frequent"]) == (100, None)


def test_the_limit_itself_is_nearly_constant_and_the_target_is_not_judged():
    columns = {
        "all": {"kind": "one-hot", "n_distinct": 1, "most_frequent_share": 1.0},
        "most": {"kind": "numeric", "n_distinct": 2, "most_frequent_share": 0.99},
        "some": {"kind": "numeric", "n_distinct": 2, "most_frequent_share": 0.98},
        "label": {"kind": "target", "n_distinct": 1, "most_frequent_share": 1.0},
    }
    found = find_constant(columns, nearly_constant_share=0.99)
    assert found == {"constant": ["all"], "nearly_constant": ["most"]}


@pytest.mark.parametrize("share", [0, -0.5, 1.1])
def test_an_impossible_share_is_refused(share: float):
    with pytest.raises(ValueError, match=r"nearly_constant_share must be above 0 and at most 1; found"):
        find_constant({}, nearly_constant_share=share)


def test_numeric_summary_gives_quartiles_and_spread():
    summary = summarize_numeric(pd.DataFrame({"a": [4.0, 1.0, 2.0, 3.0, 0.0]}), ["a"])
    assert summary == {
        "a": {
            "min": 0,
            "lower_quartile": 1,
            "median": 2,
            "upper_quartile": 3,
            "max": 4,
            "mean": 2,
            "standard_deviation": 1.41421,
        }
    }

from collections.abc import Callable

import numpy as np
import pandas as pd

from canopy.explore.columns import describe_columns, find_constant, summarize_numeric
from canopy.explore.profile import Profile
from canopy.schema import TableSchema


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

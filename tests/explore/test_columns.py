from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from canopy.explore import profile as module
from canopy.explore.columns import (
    N_MOST_FREQUENT,
    describe_categories,
    describe_columns,
    describe_target,
    find_constant,
    summarize_numeric,
)
from canopy.explore.profile import Profile
from canopy.schema import TableSchema

Table = tuple[pd.DataFrame, TableSchema]
ProfileOf = Callable[..., Profile]


def test_describe_columns_gives_kind_and_values(trips: Table, profile_of: ProfileOf):
    frame, schema = trips
    frame.loc[:199, "km"] = np.nan
    frame.loc[200:349, "km"] = 7.5
    columns = describe_columns(profile_of(frame, schema))
    assert {name: column["kind"] for name, column in columns.items()} == {
        "km": "numeric",
        "city": "categorical",
        "start": "datetime",
        "label": "target",
        "id": "key",
        "note": "ignored",
    }
    assert columns["km"] == {
        "kind": "numeric",
        "meaning": "",
        "unit": "",
        "n_missing": 200,
        "n_out_of_range": 0,
        "n_distinct": frame["km"].nunique(),
        "most_frequent": 7.5,
        "most_frequent_share": 0.75,
    }
    assert columns["city"]["most_frequent"] == "Bern"
    assert columns["start"]["most_frequent"] == str(frame["start"].mode()[0])
    assert columns["id"] == {"kind": "key", "meaning": ""}


def test_summarize_numeric_gives_quartiles_and_spread(frame: pd.DataFrame, profile_of: ProfileOf):
    found = profile_of(frame[:5].assign(weight=[4.0, 1.0, 2.0, 3.0, 0.0], size=np.nan))
    assert summarize_numeric(found) == {
        "weight": {
            "min": 0,
            "lower_quartile": 1,
            "median": 2,
            "upper_quartile": 3,
            "max": 4,
            "mean": 2,
            "standard_deviation": 1.41421,
        }
    }
    columns = describe_columns(found)
    assert (columns["size"]["n_missing"], columns["size"]["most_frequent"]) == (5, None)


def test_describe_target_gives_counts_shares_and_entropy(frame: pd.DataFrame, profile_of: ProfileOf):
    target = describe_target(profile_of(frame[49:51].iloc[[0, 0, 0, 1]]))
    assert target["classes"] == {
        "Apple": {"value": "1", "n_rows": 3, "share": 0.75},
        "Pear": {"value": "2", "n_rows": 1, "share": 0.25},
        "Plum": {"value": "3", "n_rows": 0, "share": 0},
    }
    assert target["rare"] == ["Pear", "Plum"]
    assert target["largest_to_smallest"] == 3
    assert target["entropy_nat"] == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25), rel=1e-5)


def test_describe_categories_gives_the_classes_of_their_rows(frame: pd.DataFrame, profile_of: ProfileOf):
    frame = frame[:9].assign(kind=[1, 1, 2, 2, 1, 1, 1, 1, 3], colour1=[1] * 3 + [0] * 6)
    frame["colour2"] = [0] * 3 + [1] + [0] * 5
    found = describe_categories(profile_of(frame[:8]), "colour")
    assert found["categories"]["colour1"] == {
        "name": "red",
        "n_rows": 3,
        "share": 0.375,
        "class_shares": {"Apple": 0.6667, "Pear": 0.3333},
        "information_nat": 0.01089,
    }
    assert found["categories"]["colour3"]["n_rows"] == 0
    assert found["missing"]["n_rows"] == 4
    assert (found["n_values"], found["is_one_hot"], found["others"]) == (2, True, None)


def of_values(profile_of: ProfileOf, values: list[str], **column: object) -> Profile:
    """Profile a table of one categorical column and two classes."""
    columns = {"c": {"kind": "categorical", **column}}
    frame = pd.DataFrame({"c": values, "y": ["a", "b"] * (len(values) // 2) + ["a"] * (len(values) % 2)})
    return profile_of(frame, TableSchema.parse({"target": {"column": "y"}, "columns": columns}))


@pytest.mark.parametrize("n_counted", [1, 1_000_000])
def test_describe_categories_adds_up_the_rarer_ones(
    n_counted: int, profile_of: ProfileOf, monkeypatch: pytest.MonkeyPatch
):
    """Also where there are more than are counted by class."""
    monkeypatch.setattr(module, "N_COUNTED", n_counted)
    n_rows = [30] * N_MOST_FREQUENT + [10] * 30 + [1] * 1050
    values = [f"v{index:04d}" for index, n in enumerate(n_rows) for _ in range(n)]
    found = describe_categories(of_values(profile_of, values), "c")
    assert [*found["categories"]] == [f"v{index:04d}" for index in range(N_MOST_FREQUENT)]
    assert (found["n_values"], found["n_rare"]) == (1100, 1050)
    assert (found["others"]["n_values"], found["others"]["n_rows"]) == (1080, 1350)


def test_describe_categories_counts_unlisted_values(profile_of: ProfileOf):
    profile = of_values(profile_of, ["b", "b", "a"], categories={"a": "A"})
    found = describe_categories(profile, "c")
    assert found["n_unlisted"] == 1
    assert [category["name"] for category in found["categories"].values()] == ["b", "A"]


def test_find_constant_includes_the_limit_and_missing_categories():
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

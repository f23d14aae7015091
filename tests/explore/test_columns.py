from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from canopy.explore.columns import (
    N_MOST_FREQUENT,
    describe_categories,
    describe_columns,
    describe_dates,
    describe_target,
)
from canopy.explore.profile import Profile
from canopy.schema import TableSchema

Table = tuple[pd.DataFrame, TableSchema]
ProfileOf = Callable[..., Profile]


def test_describe_columns_gives_kind_values_and_spread(trips: Table, profile_of: ProfileOf):
    frame, schema = trips
    frame.loc[:199, "km"] = np.nan
    frame.loc[200:349, "km"] = 7.5
    frame.loc[350:351, "km"] = -3
    columns = describe_columns(profile_of(frame, schema))
    kinds = {"km": "numeric", "city": "categorical", "start": "datetime", "label": "target"}
    kinds |= {"id": "key", "note": "ignored"}
    assert {name: column["kind"] for name, column in columns.items()} == kinds
    assert columns["km"] == {
        "kind": "numeric",
        "meaning": "",
        "unit": "",
        "n_missing": 200,
        "n_out_of_range": 2,
        "n_distinct": frame["km"].nunique(),
        "most_frequent": 7.5,
        "most_frequent_share": 0.75,
        "min": -3,
        "lower_quartile": 7.5,
        "median": 7.5,
        "upper_quartile": frame["km"].quantile(0.75),
        "max": frame["km"].max(),
        "mean": pytest.approx(frame["km"].mean()),
        "standard_deviation": pytest.approx(frame["km"].std(ddof=0)),
    }
    assert columns["city"]["most_frequent"] == "Bern"
    assert columns["start"]["most_frequent"] == "2024-01-22"
    assert "n_missing" not in columns["id"]


def test_describe_target_gives_counts_shares_and_entropy(frame: pd.DataFrame, profile_of: ProfileOf):
    target = describe_target(profile_of(frame[49:51].iloc[[0, 0, 0, 1]]))
    assert target["classes"] == {
        "Apple": {"value": "1", "n_rows": 3, "share": 0.75},
        "Pear": {"value": "2", "n_rows": 1, "share": 0.25},
        "Plum": {"value": "3", "n_rows": 0, "share": 0},
    }
    assert (target["rare"], target["largest_to_smallest"]) == (["Pear", "Plum"], 3)
    assert target["entropy_nat"] == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))


def test_describe_categories_gives_the_classes_of_their_rows(frame: pd.DataFrame, profile_of: ProfileOf):
    frame = frame[:9].assign(kind=[1, 1, 2, 2, 1, 1, 1, 1, 3], colour1=[1] * 3 + [0] * 6)
    frame["colour2"] = [0] * 3 + [1] + [0] * 5
    found = describe_categories(profile_of(frame[:8]), "colour")
    assert found["categories"]["colour1"] == {
        "name": "red",
        "n_rows": 3,
        "share": 0.375,
        "class_shares": {"Apple": pytest.approx(2 / 3), "Pear": pytest.approx(1 / 3)},
        "information_nat": pytest.approx(0.01089, abs=1e-5),
    }
    assert found["categories"]["colour3"]["n_rows"] == 0
    assert found["missing"]["n_rows"] == 4
    assert (found["n_values"], found["is_one_hot"], found["others"]) == (2, True, None)


def test_describe_categories_adds_up_the_rarer_ones(profile_of: ProfileOf):
    n_rows = [30] * N_MOST_FREQUENT + [10] * 30 + [1] * 1050
    values = [f"v{index:04d}" for index, n in enumerate(n_rows) for _ in range(n)]
    column = {"kind": "categorical", "categories": {"v0003": "Three"}}
    schema = TableSchema.parse({"target": {"column": "y"}, "columns": {"c": column}})
    frame = pd.DataFrame({"c": values, "y": ["a", "b"] * (len(values) // 2)})
    found = describe_categories(profile_of(frame, schema), "c")
    assert [*found["categories"]] == [f"v{index:04d}" for index in range(N_MOST_FREQUENT)]
    assert found["categories"]["v0003"]["name"] == "Three"
    assert (found["n_values"], found["n_rare"], found["n_unlisted"]) == (1100, 1050, 1099)
    assert (found["others"]["n_values"], found["others"]["n_rows"]) == (1080, 1350)


def test_describe_dates_gives_the_classes_by_part(trips: Table, profile_of: ProfileOf):
    frame, schema = trips
    found = describe_dates(profile_of(frame, schema), "start")
    assert found["last"] == max(frame.start)[:16]
    assert [*found["parts"]] == ["month", "day_of_week", "hour"]
    assert [*found["parts"]["month"]["values"]] == ["Jan", "Feb"]
    hours = found["parts"]["hour"]
    assert len(hours["values"]) == 24
    assert hours["values"]["11:00"]["class_shares"] == {"early": 1}
    # The hour decides the class.
    late = (frame.label == "late").mean()
    entropy = -late * np.log(late) - (1 - late) * np.log(1 - late)
    assert hours["information_nat"] == pytest.approx(entropy, rel=1e-3)

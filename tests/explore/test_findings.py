"""The findings about small tables, and the suggestions that come of them."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from canopy.explore.columns import N_MOST_FREQUENT
from canopy.schema import TableSchema

Table = tuple[pd.DataFrame, TableSchema]
FindingsOf = Callable[..., dict[str, Any]]


def test_findings_are_json_and_reproducible(frame: pd.DataFrame, trips: Table, findings_of: FindingsOf):
    for table in ((frame,), trips):
        findings = findings_of(*table)
        assert json.loads(json.dumps(findings, allow_nan=False)) == findings == findings_of(*table)


def test_findings_about_the_small_table(frame: pd.DataFrame, findings_of: FindingsOf):
    findings = findings_of(frame)
    texts = {"title": "Fruit", "about": "Fruit by weight."}
    rows = {"n_rows": 100, "n_unlabelled_rows": 0, "n_duplicate_rows": 70, "n_sampled_rows": 100}
    kinds = {"n_numeric_columns": 2, "n_categorical_columns": 1, "n_datetime_columns": 0}
    counts = {"n_columns": 4, "n_features": 3, "n_missing_values": 0}
    assert findings["table"] == {**texts, **rows, **kinds, **counts}
    assert findings["constancy"]["constant"] == ["colour3"]
    assert findings["correlation"]["high_pairs"] == [{"columns": ["weight", "size"], "pearson": 1}]
    # The colour shows whether the class is the first one, and nothing else: one bit, less what chance has.
    assert findings["mutual_information"]["columns_nat"]["colour"] == pytest.approx(np.log(2), abs=0.02)


def test_columns_have_kind_values_and_spread(trips: Table, findings_of: FindingsOf):
    frame, schema = trips
    frame.loc[:199, "km"] = np.nan
    frame.loc[200:349, "km"] = 7.5
    frame.loc[350:351, "km"] = -3
    columns = findings_of(frame, schema)["columns"]
    kinds = {"km": "numeric", "city": "categorical", "start": "datetime", "label": "target"}
    kinds |= {"id": "key", "note": "ignored"}
    assert {name: column["kind"] for name, column in columns.items()} == kinds
    km = frame["km"]
    counts = {"n_missing": 200, "n_out_of_range": 2, "n_distinct": km.nunique()}
    quartiles = {"lower_quartile": 7.5, "median": 7.5, "upper_quartile": km.quantile(0.75)}
    spread = {"min": -3, "max": km.max(), "mean": km.mean(), "standard_deviation": km.std(ddof=0)}
    spread |= {"most_frequent": 7.5, "most_frequent_share": 0.75, **counts, **quartiles}
    texts = {"kind": "numeric", "meaning": "", "unit": ""}
    assert columns["km"] == {**texts, **{name: pytest.approx(n, rel=1e-5) for name, n in spread.items()}}
    assert columns["city"]["most_frequent"] == "Bern"
    assert columns["start"]["most_frequent"] == "2024-01-22"
    assert "n_missing" not in columns["id"]


def test_target_has_counts_shares_and_entropy(frame: pd.DataFrame, findings_of: FindingsOf):
    target = findings_of(frame[49:51].iloc[[0, 0, 0, 1]])["target"]
    assert target["classes"] == {
        "Apple": {"value": "1", "n_rows": 3, "share": 0.75},
        "Pear": {"value": "2", "n_rows": 1, "share": 0.25},
        "Plum": {"value": "3", "n_rows": 0, "share": 0},
    }
    assert (target["rare"], target["largest_to_smallest"]) == (["Pear", "Plum"], 3)
    assert target["entropy_nat"] == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25), rel=1e-5)


def test_categories_have_the_classes_of_their_rows(frame: pd.DataFrame, findings_of: FindingsOf):
    frame = frame[:8].assign(kind=[1, 1, 2, 2, 1, 1, 1, 1], colour1=[1] * 3 + [0] * 5)
    frame["colour2"] = [0] * 3 + [1] + [0] * 4
    found = findings_of(frame)["categories"]["colour"]
    assert found["categories"]["colour1"] == {
        "name": "red",
        "n_rows": 3,
        "share": 0.375,
        "class_shares": {"Apple": pytest.approx(2 / 3, rel=1e-5), "Pear": pytest.approx(1 / 3, rel=1e-5)},
        "information_nat": pytest.approx(0.01089, abs=1e-5),
    }
    assert found["categories"]["colour3"]["n_rows"] == 0
    assert found["missing"]["n_rows"] == 4
    assert (found["n_values"], found["is_one_hot"], found["others"]) == (2, True, None)


def test_rarer_categories_are_added_up(findings_of: FindingsOf):
    n_rows = [30] * N_MOST_FREQUENT + [10] * 30 + [1] * 1050
    values = [f"v{index:04d}" for index, n in enumerate(n_rows) for _ in range(n)]
    column = {"kind": "categorical", "categories": {"v0003": "Three"}}
    schema = TableSchema.parse({"target": {"column": "y"}, "columns": {"c": column}})
    frame = pd.DataFrame({"c": values, "y": ["a", "b"] * (len(values) // 2)})
    found = findings_of(frame, schema)["categories"]["c"]
    assert [*found["categories"]] == [f"v{index:04d}" for index in range(N_MOST_FREQUENT)]
    assert found["categories"]["v0003"]["name"] == "Three"
    assert (found["n_values"], found["n_rare"], found["n_unlisted"]) == (1100, 1050, 1099)
    assert (found["others"]["n_values"], found["others"]["n_rows"]) == (1080, 1350)


def test_dates_have_the_classes_by_part(trips: Table, findings_of: FindingsOf):
    findings = findings_of(*trips)
    found = findings["datetimes"]["start"]
    assert found["last"] == max(trips[0].start)[:16]
    assert [*found["parts"]] == ["month", "day_of_week", "hour"]
    assert [*found["parts"]["month"]["values"]] == ["Jan", "Feb"]
    hours = found["parts"]["hour"]
    assert len(hours["values"]) == 24
    assert hours["values"]["11:00"]["class_shares"] == {"early": 1}
    # The hour decides the class.
    assert hours["information_nat"] == pytest.approx(findings["target"]["entropy_nat"], rel=1e-3)


def test_missing_numbers_hide_nothing_else(frame: pd.DataFrame, findings_of: FindingsOf):
    findings = findings_of(frame.assign(weight=frame["weight"].where(~frame.index.isin([0, 99]))))
    assert findings["table"]["n_missing_values"] == findings["columns"]["weight"]["n_missing"] == 2
    assert findings["columns"]["size"]["max"] == frame["size"].max()
    assert findings["correlation"]["high_pairs"][0]["pearson"] == 1
    findings = findings_of(frame.assign(weight=np.nan))
    assert [*findings["correlation"]["matrix"]] == ["size"]
    assert findings["mutual_information"]["columns_nat"]["weight"] == 0


def test_suggestions_name_action_and_reason(findings_of: FindingsOf):
    generator, n_rows = np.random.default_rng(1), 6000
    rows = np.arange(n_rows)
    is_rare = rows % 4 == 0
    useful = generator.normal(is_rare, 1)
    columns = {
        "useful": useful,
        "same": np.full(n_rows, 4.0),
        "empty": np.full(n_rows, np.nan),
        "blank": np.where(rows < 9, np.nan, 4.0),
        "rare": np.where(rows < 2, "yes", "no"),
        # As rare as others that go, but it has information.
        "telling": np.where(rows % 40 == 0, "yes", "no"),
        "missing": np.where(rows < 2, useful, np.nan),
        "noise": generator.normal(size=n_rows),
        "coin": generator.choice(["head", "tail"], n_rows),
        "noisy": 3 * useful + generator.normal(size=n_rows),
        "names": [f"name {index}" for index in rows],
        "towns": [f"town {index % 1000 if index % 3 else index % 50}" for index in rows],
        "leak": useful / 100 + is_rare,
        "copy": np.where(is_rare, "R", "O"),
    }
    merged = "950 of 1,000 categories have fewer than 10 rows: min_count: 10 makes them one category."
    expected = {
        "same": ("drop", "Constant: the only value is 4."),
        "empty": ("drop", "Constant: the only value is missing."),
        "blank": ("drop", "Constant: the only value is 4."),
        "rare": ("drop", "Nearly constant: it is no in 99.97% of the rows (all but 2), and has 0.00"),
        "missing": ("drop", "Nearly constant: it is missing in 99.97% of the rows (all but 2), and has "),
        "noise": ("drop", "Uninformative: less than 0.001 nat of information on the class"),
        "coin": ("drop", "Uninformative: less than 0.001 nat of information on the class"),
        "noisy": ("drop", "Redundant: its correlation with useful is 0.9"),
        "names": ("key", "Nearly every row has its own value (6,000 in 6,000 rows)"),
        "towns": ("merge rare", merged),
        "leak": ("check", "Gives the class away: 0.56"),
        "copy": ("check", "Gives the class away: 0.56"),
    }
    frame = pd.DataFrame({**columns, "label": np.where(is_rare, "rare", "often")})
    numeric = {*frame.select_dtypes("number")}
    kinds = {name: {"kind": "numeric" if name in numeric else "categorical"} for name in columns}
    schema = TableSchema.parse({"target": {"column": "label"}, "columns": kinds})
    found = {item["column"]: item for item in findings_of(frame, schema)["suggestions"]}
    assert found.keys() == expected.keys()
    for name, (action, reason) in expected.items():
        assert (found[name]["action"], found[name]["reason"][: len(reason)]) == (action, reason)

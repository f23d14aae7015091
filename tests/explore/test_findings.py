"""The findings about small tables, and the suggestions that come of them."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from canopy.explore.suggestions import find_constant
from canopy.schema import TableSchema

FindingsOf = Callable[..., dict[str, Any]]

N_ROWS = 6000


def test_findings_are_json_and_reproducible(
    frame: pd.DataFrame, trips: tuple[pd.DataFrame, TableSchema], findings_of: FindingsOf
):
    for table in ((frame,), trips):
        findings = findings_of(*table)
        assert json.loads(json.dumps(findings, allow_nan=False)) == findings == findings_of(*table)


def test_findings_about_the_small_table(frame: pd.DataFrame, findings_of: FindingsOf):
    findings = findings_of(frame)
    assert findings["table"] == {
        "title": "Fruit",
        "about": "Fruit by weight.",
        "n_rows": 100,
        "n_unlabelled_rows": 0,
        "n_columns": 4,
        "n_features": 3,
        "n_numeric_columns": 2,
        "n_categorical_columns": 1,
        "n_datetime_columns": 0,
        "n_missing_values": 0,
        "n_duplicate_rows": 70,
        "n_sampled_rows": 100,
    }
    assert findings["target"]["largest_to_smallest"] == 5
    assert findings["constancy"]["constant"] == ["colour3"]
    assert findings["correlation"]["high_pairs"] == [{"columns": ["weight", "size"], "pearson": 1}]
    # The colour shows whether the class is the first one, and nothing else: one bit, less what chance has.
    assert findings["mutual_information"]["columns_nat"]["colour"] == pytest.approx(np.log(2), abs=0.02)


def test_missing_numbers_hide_nothing_else(frame: pd.DataFrame, findings_of: FindingsOf):
    findings = findings_of(frame.assign(weight=frame["weight"].where(~frame.index.isin([0, 99]))))
    assert findings["table"]["n_rows"] == 100
    assert findings["table"]["n_missing_values"] == findings["columns"]["weight"]["n_missing"] == 2
    assert findings["columns"]["size"]["max"] == frame["size"].max()
    assert findings["correlation"]["high_pairs"][0]["pearson"] == 1
    findings = findings_of(frame.assign(weight=np.nan))
    assert [*findings["correlation"]["matrix"]] == ["size"]
    assert findings["mutual_information"]["columns_nat"]["weight"] == 0


def test_row_without_a_0_1_column_set_is_missing(frame: pd.DataFrame, findings_of: FindingsOf):
    frame.loc[:4, "colour1"] = 0
    frame.loc[7, "colour2"] = 1
    findings = findings_of(frame)
    missing = findings["categories"]["colour"]["missing"]
    assert findings["columns"]["colour"]["n_missing"] == missing["n_rows"] == 5
    [problem] = findings["problems"]
    assert (problem["column"], problem["n_rows"], problem["line"]) == ("colour", 1, 9)


@pytest.fixture
def suggest(findings_of: FindingsOf) -> Callable[..., dict[str, tuple[str, str]]]:
    """Suggest for columns of these values, numeric or categorical, with a class that every fourth row has."""

    def call(**columns: Any) -> dict[str, tuple[str, str]]:
        frame = pd.DataFrame({**columns, "label": np.where(np.arange(N_ROWS) % 4 == 0, "rare", "often")})
        kinds = {
            name: {"kind": "numeric" if pd.api.types.is_numeric_dtype(frame[name]) else "categorical"}
            for name in columns
        }
        schema = TableSchema.parse({"target": {"column": "label"}, "columns": kinds})
        found = findings_of(frame, schema)["suggestions"]
        return {item["column"]: (item["action"], item["reason"]) for item in found}

    return call


@pytest.fixture
def useful() -> Any:
    return np.random.default_rng(0).normal(np.arange(N_ROWS) % 4 == 0, 1)


def test_suggestions_name_action_and_reason(suggest: Any, useful: Any):
    generator, rows = np.random.default_rng(1), np.arange(N_ROWS)
    reasons = suggest(
        useful=useful,
        same=np.full(N_ROWS, 4.0),
        empty=np.full(N_ROWS, np.nan),
        blank=np.where(rows < 9, np.nan, 4.0),
        rare=np.where(rows < 2, "yes", "no"),
        # As rare as others that go, but it has information.
        telling=np.where(rows % 40 == 0, "yes", "no"),
        missing=np.where(rows < 2, useful, np.nan),
        noise=generator.normal(size=N_ROWS),
        coin=generator.choice(["head", "tail"], N_ROWS),
        noisy=3 * useful + generator.normal(size=N_ROWS),
        names=[f"name {index}" for index in rows],
        towns=[f"town {index % 1000 if index % 3 else index % 50}" for index in rows],
    )
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
        "towns": (
            "merge rare",
            "950 of 1,000 categories have fewer than 10 rows: min_count: 10 makes them one category.",
        ),
    }
    assert reasons.keys() == expected.keys()
    for name, (action, start) in expected.items():
        assert reasons[name][0] == action
        assert reasons[name][1].startswith(start)


@pytest.mark.parametrize("as_number", [True, False])
def test_leak_is_to_be_checked(suggest: Any, useful: Any, as_number: bool):
    is_rare = np.arange(N_ROWS) % 4 == 0
    leak = useful / 100 + is_rare if as_number else np.where(is_rare, "R", "O")
    (column, (action, reason)) = suggest(leak=leak).popitem()
    assert (column, action) == ("leak", "check")
    assert reason.startswith("Gives the class away: 0.56")


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
    assert find_constant(columns, categories, n_rows=100, share=0.99) == {
        "nearly_constant_share": 0.99,
        "constant": ["all", "number or missing", "y"],
        "nearly_constant": ["most", "mostly missing", "z"],
    }

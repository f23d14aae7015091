import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from canopy.schema import TableSchema

FindingsOf = Callable[..., dict[str, Any]]


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
    assert findings["association"]["colour"]["weight"] == pytest.approx(360 / 440.825, abs=1e-4)
    # The colour shows whether the class is the first one, and nothing else: one bit, less what chance has.
    assert findings["mutual_information"]["columns_nat"]["colour"] == pytest.approx(np.log(2), abs=0.02)
    suggested = {item["column"]: item["action"] for item in findings["suggestions"]}
    assert suggested["colour3"] == "drop"


def test_missing_numbers_hide_nothing_else(frame: pd.DataFrame, findings_of: FindingsOf):
    findings = findings_of(frame.assign(weight=frame["weight"].where(~frame.index.isin([0, 99]))))
    assert findings["table"]["n_rows"] == 100
    assert findings["table"]["n_missing_values"] == findings["columns"]["weight"]["n_missing"] == 2
    assert findings["numeric"]["size"]["max"] == frame["size"].max()
    assert findings["correlation"]["high_pairs"][0]["pearson"] == 1
    findings = findings_of(frame.assign(weight=np.nan))
    assert [*findings["numeric"]] == [*findings["correlation"]["matrix"]] == ["size"]
    assert findings["mutual_information"]["columns_nat"]["weight"] == 0


def test_row_without_a_0_1_column_set_is_missing(frame: pd.DataFrame, findings_of: FindingsOf):
    frame.loc[:4, "colour1"] = 0
    frame.loc[7, "colour2"] = 1
    findings = findings_of(frame)
    assert (
        findings["columns"]["colour"]["n_missing"]
        == findings["categories"]["colour"]["missing"]["n_rows"]
        == 5
    )
    problem = findings["problems"][0]
    assert (problem["column"], problem["n_rows"]) == ("colour", 1)
    assert problem["examples"][0]["line"] == 9

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from canopy.explore.exploration import Exploration
from canopy.explore.findings import SECTIONS, compute_findings, find


def test_all_sections_are_found_and_hold_json(frame: pd.DataFrame, exploration: Exploration):
    findings = compute_findings(frame, exploration)
    assert tuple(findings) == SECTIONS
    assert sorted(section for section, _ in find(frame, exploration)) == sorted(SECTIONS)
    assert json.loads(json.dumps(findings, allow_nan=False)) == findings


def test_the_findings_are_the_same_every_time(frame: pd.DataFrame, exploration: Exploration):
    exploration = replace(exploration, n_mutual_information_rows=60)
    assert compute_findings(frame, exploration) == compute_findings(frame, exploration)


def test_the_small_table_is_understood(frame: pd.DataFrame, exploration: Exploration):
    findings = compute_findings(frame, exploration)
    assert findings["table"] == {
        "title": "Fruit",
        "about": "Fruit by weight.",
        "n_rows": 100,
        "n_columns": 6,
        "n_features": 5,
        "n_numeric_columns": 2,
        "n_one_hot_columns": 3,
        "n_missing_values": 0,
        "n_duplicate_rows": 70,
    }
    assert findings["target"]["largest_to_smallest"] == 5
    assert findings["constancy"]["constant"] == ["colour3"]
    assert findings["correlation"]["high_pairs"] == [{"columns": ["weight", "size"], "pearson": 1}]
    assert findings["groups"]["colour"]["n_broken_rows"] == 0
    # The colour tells whether the class is the first one, and nothing else: one bit, ln 2 nat.
    assert findings["mutual_information"]["groups_nat"]["colour"] == pytest.approx(np.log(2), abs=1e-4)
    suggested = [item["column"] for item in findings["suggested_drops"]]
    assert suggested == ["colour3", "size"]


def test_missing_numbers_are_counted_and_hide_nothing_else(frame: pd.DataFrame, exploration: Exploration):
    frame = frame.astype({"weight": float})
    frame.loc[[0, 99], "weight"] = np.nan
    findings = compute_findings(frame, exploration)
    assert findings["table"]["n_rows"] == 100
    assert findings["table"]["n_missing_values"] == findings["columns"]["weight"]["n_missing"] == 2
    assert sum(found["n_rows"] for found in findings["target"]["classes"].values()) == 100
    assert findings["mutual_information"]["n_sampled_rows"] == 98
    assert findings["numeric"]["weight"]["max"] == frame["weight"].max()


def test_a_table_without_a_complete_row_is_refused(frame: pd.DataFrame, exploration: Exploration):
    with pytest.raises(ValueError, match="At least one row must have a value in every column; found none"):
        compute_findings(frame.assign(weight=np.nan), exploration)


def test_rows_that_break_a_group_are_found(frame: pd.DataFrame, exploration: Exploration):
    frame.loc[:4, "colour1"] = 0
    assert compute_findings(frame, exploration)["groups"]["colour"]["n_broken_rows"] == 5

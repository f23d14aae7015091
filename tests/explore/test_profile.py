from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig

from canopy.explore import profile as module
from canopy.explore.profile import Profile, read_profile
from canopy.schema import TableSchema

Table = tuple[pd.DataFrame, TableSchema]
ProfileOf = Callable[..., Profile]


@pytest.fixture
def faulty(trips: Table) -> Table:
    """Trips with what policies reject or change."""
    frame, schema = trips
    frame.loc[:4, "km"] = np.nan
    frame.loc[5:6, "km"] = -3
    frame.loc[:2, "city"] = None
    frame.loc[397:, "label"] = None
    return frame, schema


def test_profile_holds_what_policies_reject_or_change(faulty: Table, profile_of: ProfileOf):
    frame, _ = faulty
    found = profile_of(*faulty)
    assert (found.n_rows, found.n_unlabelled) == (397, 3)
    assert found.frame.isna().sum().to_dict() == {"km": 5, "city": 3, "start": 0, "label": 0}
    assert found.frame["km"].min() == -3
    assert found.problems.counts == {}
    expected = pd.crosstab(frame.city.fillna("missing"), frame.label).loc[["Bern", "Rome", "Oslo", "missing"]]
    counts = found.category_counts("city")
    assert counts[[0, 1, 2, 4]].tolist() == expected.to_numpy().tolist()
    assert counts[3].tolist() == [0, 0]


def test_invalid_values_are_left_out_and_reported(frame: pd.DataFrame, profile_of: ProfileOf):
    frame = frame.astype({"weight": str})
    frame.loc[2, "weight"] = "heavy"
    frame.loc[3, "kind"] = 9
    found = profile_of(frame)
    assert found.n_rows == 98
    assert found.problems.counts == {("weight", "be a number"): 1, ("kind", "be one of '1', '2', '3'"): 1}
    assert [problem.line for problem in found.problems.shown] == [4, 5]


def test_classes_that_are_not_kept_are_left_out(
    frame: pd.DataFrame, profile_of: ProfileOf, small_params: DictConfig
):
    small_params.table.target.keep = [3, 1]
    found = profile_of(frame)
    assert (found.n_unlabelled, found.classes) == (40, {"1": "Apple", "3": "Plum"})
    assert found.class_counts.tolist() == np.bincount(found.codes).tolist() == [50, 10]


def test_long_table_is_counted_and_sampled_whatever_the_batches(
    faulty: Table,
    profile_of: ProfileOf,
    findings_of: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    monkeypatch.setattr(module, "N_SAMPLED", 4000)
    frame, schema = faulty
    frame = pd.concat([frame] * 10)
    # A class so rare that the sample has hardly a row of it.
    frame.iloc[-20, -1] = "never"
    found = profile_of(frame, schema)
    assert (found.n_rows, len(found.codes)) == (3970, 1000)
    assert np.mean(found.codes == 1) == pytest.approx((frame.label == "late").mean(), abs=0.05)
    findings = findings_of(frame, schema)
    assert {name: item["n_rows"] for name, item in findings["target"]["classes"].items()} == {
        **frame.label.value_counts().sort_index()
    }
    columns = findings["columns"]
    assert [columns[name]["n_missing"] for name in ("km", "city", "start")] == [50, 30, 0]
    assert (columns["km"]["n_out_of_range"], findings["table"]["n_missing_values"]) == (20, 80)
    assert columns["km"]["max"] == frame.km.max()
    for start in range(0, len(frame), 300):
        frame[start : start + 300].to_csv(tmp_path / f"{start:04d}.csv", index=False)
    (tmp_path / "raw.csv").unlink()
    pd.testing.assert_frame_equal(read_profile(str(tmp_path / "*.csv"), schema, seed=0).frame, found.frame)


def test_numeric_target_is_refused(trips: Table, profile_of: ProfileOf, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "N_CLASSES", 100)
    frame, schema = trips
    with pytest.raises(ValueError, match="must be a class; got more than 100 different values in 'label'"):
        profile_of(frame.assign(label=frame["km"]), schema)


def test_table_without_valid_rows_is_refused(frame: pd.DataFrame, profile_of: ProfileOf):
    with pytest.raises(ValueError, match="must hold rows with a label below its header; got 0"):
        profile_of(frame[:0])
    with pytest.raises(ValueError, match="be a number"):
        profile_of(frame.assign(weight="heavy"))

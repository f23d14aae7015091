from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig

from canopy.explore import profile as module
from canopy.explore.profile import Profile, read_profile
from canopy.prepare.interim import table_schema
from canopy.schema import TableSchema

Trips = tuple[pd.DataFrame, TableSchema]


def test_what_policies_reject_or_change_is_counted(trips: Trips, profile_of: Callable[..., Profile]):
    frame, schema = trips
    frame.loc[:4, "km"] = np.nan
    frame.loc[5:6, "km"] = -3
    frame.loc[:2, "city"] = None
    frame.loc[397:, "label"] = None
    found = profile_of(frame, schema)
    assert (found.n_rows, found.n_unlabelled) == (397, 3)
    assert found.n_missing == {"km": 5, "city": 3, "start": 0}
    assert found.n_out_of_range == {"km": 2}
    assert found.moments["km"].low == -3
    assert found.problems.counts == {}
    values, counts = found.by_class("city")
    assert values == ["Bern", "Rome", "Oslo", None]
    assert counts.sum() == 397


def test_rows_with_values_that_no_column_may_have_are_left_out_and_reported(
    frame: pd.DataFrame, profile_of: Callable[..., Profile]
):
    frame = frame.astype({"weight": str})
    frame.loc[2, "weight"] = "heavy"
    frame.loc[3, "kind"] = 9
    found = profile_of(frame)
    assert found.n_rows == 98
    assert found.problems.counts == {("weight", "be a number"): 1, ("kind", "be one of '1', '2', '3'"): 1}
    assert [problem.line for problem in found.problems.shown] == [4, 5]


def test_duplicates_are_counted_over_features_and_target(trips: Trips, profile_of: Callable[..., Profile]):
    frame, schema = trips
    n_repeated = int(frame.drop(columns="id").duplicated().sum())
    doubled = pd.concat([frame, frame.assign(id=frame.id + 1000)])
    assert profile_of(doubled, schema).n_duplicates == n_repeated + 400


def test_a_profile_does_not_depend_on_the_batches(
    trips: Trips, profile_of: Callable[..., Profile], folder_of_parts: Callable[[pd.DataFrame], Path]
):
    frame, schema = trips
    whole, parts = profile_of(frame, schema), read_profile(str(folder_of_parts(frame)), schema, seed=0)
    for name in ("n_rows", "n_duplicates", "n_missing", "labels", "classes"):
        assert getattr(whole, name) == getattr(parts, name)
    assert all((parts.sample[name] == values).all() for name, values in whole.sample.items())
    assert parts.counts["km"].totals() == whole.counts["km"].totals()


def test_a_long_table_is_sampled(
    trips: Trips, profile_of: Callable[..., Profile], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "N_SAMPLED", 4000)
    frame, schema = trips
    long = pd.concat([frame] * 10)
    found = profile_of(long, schema)
    assert (found.n_rows, len(found.codes)) == (4000, 1000)
    assert np.mean(found.codes) == pytest.approx((frame.label == "late").mean(), abs=0.05)


def test_a_target_that_is_a_quantity_is_refused(
    trips: Trips, profile_of: Callable[..., Profile], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "N_CLASSES", 100)
    frame, schema = trips
    with pytest.raises(ValueError, match="must be a class; got more than 100 different values in 'label'"):
        profile_of(frame.assign(label=frame["km"]), schema)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2].rpartition(",")[0], "each line must have as many values as"),
        (lambda text: text.replace("weight", "mass"), "must have the column 'weight'"),
        (lambda text: text.splitlines()[0] + "\n", "must hold rows with a label below its header; got 0"),
        (lambda text: text.replace("\n1", "\nx").replace("\n2", "\nx").replace("\n3", "\nx"), "be a number"),
    ],
)
def test_a_file_of_another_form_is_refused(
    change: Any, message: str, frame: pd.DataFrame, explore_params: DictConfig
):
    Path(explore_params.paths.raw).write_text(change(frame.to_csv(index=False)))
    with pytest.raises(ValueError, match=message):
        read_profile(explore_params.paths.raw, table_schema(explore_params), seed=0)

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from canopy.explore.dates import describe_dates
from canopy.explore.plots import draw_timeline
from canopy.explore.profile import Profile
from canopy.schema import TableSchema

Table = tuple[pd.DataFrame, TableSchema]
ProfileOf = Callable[..., Profile]


def test_describe_dates_gives_classes_by_part_and_over_time(trips: Table, profile_of: ProfileOf):
    frame, schema = trips
    found = describe_dates(profile_of(frame, schema), "start")
    assert [*found["parts"]] == ["month", "day_of_week", "hour"]
    assert [*found["parts"]["month"]["values"]] == ["Jan", "Feb"]
    hours = found["parts"]["hour"]
    assert len(hours["values"]) == 24
    assert hours["values"]["11:00"]["class_shares"] == {"early": 1}
    assert hours["values"]["12:00"]["class_shares"] == {"late": 1}
    # The hour decides the class.
    late = (frame.label == "late").mean()
    entropy = -late * np.log(late) - (1 - late) * np.log(1 - late)
    assert hours["information_nat"] == pytest.approx(entropy, rel=1e-3)
    over_time = found["over_time"]
    assert over_time["unit"] == "day"
    assert over_time["starts"][:2] == ["2024-01-01", "2024-01-02"]
    on_first = frame[frame.start.str.startswith("2024-01-01")].label.value_counts()
    assert {name: n_rows[0] for name, n_rows in over_time["n_rows"].items()} == on_first.to_dict()


@pytest.mark.parametrize(
    ("times", "unit", "starts"),
    [
        (["2024-01-01", "2024-02-01", "2024-03-01"], "month", ["2024-01", "2024-02", "2024-03"]),
        (
            ["2024-01-03", "2024-01-08", "2024-01-15T06:00"],
            "week",
            ["2024-01-01", "2024-01-08", "2024-01-15"],
        ),
        (["1700-05-01", "2020-05-01"], "year", None),
    ],
)
def test_over_time_chooses_the_unit_for_any_span(
    times: list[str], unit: str, starts: list[str] | None, trips: Table, profile_of: ProfileOf
):
    frame, schema = trips
    frame["start"] = (times * 200)[:400]
    over_time = describe_dates(profile_of(frame, schema), "start")["over_time"]
    assert over_time["unit"] == unit
    assert starts is None or over_time["starts"] == starts
    assert sum(map(sum, over_time["n_rows"].values())) == 400


def test_draw_timeline_stacks_classes_and_adds_up_those_not_shown():
    over_time = {
        "unit": "day",
        "starts": ["a", "b", "c"],
        "n_rows": {"x": [2, 0, 1], "y": [2, 0, 0], "z": [0, 0, 1]},
    }
    plot = draw_timeline(over_time, ["x", "y"])
    assert (plot["n_bars"], plot["peak"], plot["ticks"]) == (3, 4, ["a", "b", "c"])
    assert plot["rows"] == {
        "x": "M0.06 50.00h.88V100.00h-.88zM2.06 75.00h.88V100.00h-.88z",
        "y": "M0.06 0.00h.88V50.00h-.88z",
        "": "M2.06 50.00h.88V75.00h-.88z",
    }
    assert plot["shares"]["x"] == "M0.06 50.00h.88V100.00h-.88zM2.06 50.00h.88V100.00h-.88z"

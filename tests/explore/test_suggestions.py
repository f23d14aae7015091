from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from canopy.explore.findings import Limits
from canopy.schema import TableSchema

N_ROWS = 6000


@pytest.fixture
def suggest(findings_of: Callable[..., Any]) -> Callable[..., dict[str, tuple[str, str]]]:
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
        letter=np.where(useful < 0, "low", np.where(useful < 1, "middle", "high")),
        number=np.where(useful < 0, "one", np.where(useful < 1, "two", "three")),
        names=[f"name {index}" for index in rows],
        towns=[f"town {index % 1000 if index % 3 else index % 50}" for index in rows],
    )
    expected = {
        "same": ("drop", "Constant: it is 4 in all 6,000 rows."),
        "empty": ("drop", "Constant: it has no value in any of the 6,000 rows."),
        "blank": ("drop", "Constant: it is 4 wherever it has a value."),
        "rare": ("drop", "Nearly constant: it is no in 99.97% of the rows (all but 2), and its "),
        "missing": ("drop", "Nearly constant: it is missing in 99.97% of the rows (all but 2), and its "),
        "noise": ("drop", "Uninformative: its mutual information with label is below 0.001 nat"),
        "coin": ("drop", "Uninformative: its mutual information with label is below 0.001 nat"),
        "noisy": ("drop", "Redundant: its correlation with useful is 0.9"),
        "number": ("drop", "Redundant: each of its categories goes with one of letter, and it"),
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
    assert reason.startswith("Gives the class away: its mutual information with label is 0.56")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("nearly_constant_share", 0, "must be above 0 and at most 1; got 0"),
        ("high_correlation", 1.5, "must be above 0 and at most 1; got 1.5"),
        ("n_mutual_information_rows", 0, "must be at least 1; got 0"),
    ],
)
def test_limits_out_of_range_are_refused(name: str, value: float, message: str):
    limits = {"nearly_constant_share": 0.9, "high_correlation": 0.9, "n_mutual_information_rows": 10}
    with pytest.raises(ValueError, match=f"explore.{name} {message}"):
        Limits(**{**limits, name: value})  # type: ignore[arg-type]

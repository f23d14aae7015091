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


def test_constant_columns_are_dropped(suggest: Any, useful: Any):
    empty, blank = np.full(N_ROWS, np.nan), np.where(np.arange(N_ROWS) < 9, np.nan, 4.0)
    assert suggest(useful=useful, same=np.full(N_ROWS, 4.0), empty=empty, blank=blank) == {
        "same": ("drop", "Constant: it is 4 in all 6,000 rows."),
        "empty": ("drop", "Constant: it has no value in any of the 6,000 rows."),
        "blank": ("drop", "Constant: it is 4 wherever it has a value."),
    }


def test_nearly_constant_columns_without_information_are_dropped(suggest: Any, useful: Any):
    rare = np.where(np.arange(N_ROWS) < 2, "yes", "no")
    telling = np.where(np.arange(N_ROWS) % 40 == 0, "yes", "no")
    missing = np.where(np.arange(N_ROWS) < 2, useful, np.nan)
    reasons = suggest(useful=useful, rare=rare, telling=telling, missing=missing)
    assert [*reasons] == ["missing", "rare"]
    assert reasons["rare"][1].startswith(
        "Nearly constant: it is no in 99.97% of the rows (all but 2), and its "
    )
    assert reasons["missing"][1].startswith(
        "Nearly constant: it is missing in 99.97% of the rows (all but 2)"
    )


def test_uninformative_columns_are_dropped(suggest: Any, useful: Any):
    generator = np.random.default_rng(1)
    noise, coin = generator.normal(size=N_ROWS), generator.choice(["head", "tail"], N_ROWS)
    reasons = suggest(useful=useful, noise=noise, coin=coin)
    assert {name: action for name, (action, _) in reasons.items()} == {"noise": "drop", "coin": "drop"}
    assert reasons["coin"][1].startswith(
        "Uninformative: its mutual information with label is below 0.001 nat"
    )


def test_less_informative_one_of_redundant_columns_is_dropped(suggest: Any, useful: Any):
    noisy = 3 * useful + np.random.default_rng(1).normal(size=N_ROWS)
    letter = np.where(useful < 0, "low", np.where(useful < 1, "middle", "high"))
    number = np.where(useful < 0, "one", np.where(useful < 1, "two", "three"))
    reasons = suggest(useful=useful, noisy=noisy, letter=letter, number=number)
    assert [*reasons] == ["noisy", "number"]
    assert reasons["noisy"][1].startswith("Redundant: its correlation with useful is 0.9")
    assert reasons["number"][1].startswith(
        "Redundant: each of its categories goes with one of letter, and it"
    )


@pytest.mark.parametrize("as_number", [True, False])
def test_leak_is_to_be_checked(suggest: Any, useful: Any, as_number: bool):
    is_rare = np.arange(N_ROWS) % 4 == 0
    leak = useful / 100 + is_rare if as_number else np.where(is_rare, "R", "O")
    (column, (action, reason)) = suggest(leak=leak).popitem()
    assert (column, action) == ("leak", "check")
    assert reason.startswith("Gives the class away: its mutual information with label is 0.56")


def test_unique_categories_are_a_key_and_many_rare_ones_can_be_merged(suggest: Any, useful: Any):
    names = np.array([f"name {index}" for index in range(N_ROWS)])
    towns = np.array([f"town {index % 1000 if index % 3 else index % 50}" for index in range(N_ROWS)])
    reasons = suggest(useful=useful, names=names, towns=towns)
    assert reasons["names"][0] == "key"
    assert reasons["names"][1].startswith("Nearly every row has its own value (6,000 in 6,000 rows)")
    assert reasons["towns"] == (
        "merge rare",
        "950 of 1,000 categories have fewer than 10 rows: min_count: 10 makes them one category.",
    )


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

from typing import Any

from canopy.explore.suggestions import suggest_drops


def suggest(
    information: dict[str, float],
    *,
    constant: tuple[str, ...] = (),
    nearly_constant: tuple[str, ...] = (),
    pairs: tuple[tuple[str, str], ...] = (),
) -> dict[str, str]:
    column: dict[str, Any] = {"most_frequent": 0, "most_frequent_share": 0.99}
    suggested = suggest_drops(
        target="kind",
        n_rows=1000,
        columns=dict.fromkeys(information, column),
        constant={"constant": [*constant], "nearly_constant": [*nearly_constant]},
        high_pairs=[{"columns": [*pair], "pearson": -0.95} for pair in pairs],
        information=information,
    )
    return {item["column"]: item["reason"] for item in suggested}


def test_constant_columns_go():
    assert suggest({"a": 0, "b": 0.5}, constant=("a",)) == {"a": "Constant: it is 0 in all 1,000 rows."}


def test_nearly_constant_columns_go_unless_they_tell_something():
    reasons = suggest({"a": 0.00099, "b": 0.001}, nearly_constant=("a", "b"))
    assert reasons == {
        "a": "Nearly constant: it is 0 in 99.0% of the rows (all but 10), and its mutual information with "
        "kind is 0.00099 nat, below 0.001 nat."
    }


def test_of_a_highly_correlated_pair_the_less_informative_column_goes():
    reasons = suggest({"a": 0.1, "b": 0.2}, pairs=(("a", "b"),))
    assert reasons == {
        "a": "Redundant: its correlation with b is \N{MINUS SIGN}0.95, and it tells less about kind "
        "(0.100 nat against 0.200 nat)."
    }


def test_of_equals_the_second_goes():
    assert list(suggest({"a": 0.1, "b": 0.1}, pairs=(("a", "b"),))) == ["b"]


def test_a_pair_that_has_lost_a_column_is_no_pair():
    information = {"a": 0.1, "b": 0.2, "c": 0.05}
    assert list(suggest(information, pairs=(("a", "b"), ("a", "c")))) == ["a"]
    assert list(suggest(information, constant=("b",), pairs=(("a", "b"),))) == ["b"]

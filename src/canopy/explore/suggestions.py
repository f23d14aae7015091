"""Suggest the columns that training can do without, and say why."""

from typing import Any

from canopy.explore.wording import number, percent

# In nat: below it a column that is nearly constant tells too little to be worth its place.
LITTLE_INFORMATION = 0.001


def suggest_drops(
    *,
    target: str,
    n_rows: int,
    columns: dict[str, dict[str, Any]],
    constant: dict[str, list[str]],
    high_pairs: list[dict[str, Any]],
    information: dict[str, float],
) -> list[dict[str, str]]:
    """Choose the features to drop: constant, nearly constant and uninformative, or redundant ones.

    Args:
        target: Column with the class.
        n_rows: Number of rows.
        columns: What `describe_columns` gives.
        constant: What `find_constant` gives.
        high_pairs: Highly correlated pairs, strongest first, as `describe_correlation` gives them.
        information: Feature to its mutual information with the class, in nat.

    Returns:
        One entry for each column, with `column` and `reason`. A pair of which one column goes already
        is no pair any more; of any other pair the column with less information goes (the second one
        where both have the same).
    """
    reasons: dict[str, str] = {}
    for name in constant["constant"]:
        value = columns[name]["most_frequent"]
        reasons[name] = f"Constant: it is {number(value)} in all {n_rows:,} rows."
    for name in constant["nearly_constant"]:
        if information[name] < LITTLE_INFORMATION:
            n_others = round((1 - columns[name]["most_frequent_share"]) * n_rows)
            reasons[name] = (
                f"Nearly constant: it is {number(columns[name]['most_frequent'])} in "
                f"{percent(columns[name]['most_frequent_share'])} of the rows (all but {n_others:,}), and "
                f"its mutual information with {target} is {information[name]:.5f} nat, below "
                f"{LITTLE_INFORMATION} nat."
            )
    for pair in high_pairs:
        first, second = pair["columns"]
        if first in reasons or second in reasons:
            continue
        dropped, kept = (first, second) if information[first] < information[second] else (second, first)
        reasons[dropped] = (
            f"Redundant: its correlation with {kept} is {number(pair['pearson'])}, and it tells less about "
            f"{target} ({information[dropped]:.3f} nat against {information[kept]:.3f} nat)."
        )
    return [{"column": name, "reason": reason} for name, reason in reasons.items()]

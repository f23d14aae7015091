"""Suggest what to change in `params.yaml`, and say why."""

from collections.abc import Iterator
from typing import Any

from canopy.explore.classes import RARE
from canopy.explore.information import LITTLE_INFORMATION
from canopy.explore.wording import number, percent

# Share of the classes' entropy from which on a column gives the class away.
LEAK_SHARE = 0.95
# Distinct values per row from which on a column seems to name rows.
KEY_SHARE = 0.95
# Cramér's V from which on two columns with as many categories are the same.
SAME = 0.999

Suggestion = tuple[str, str, str]


def suggest(findings: dict[str, Any]) -> list[dict[str, str]]:
    """Find features to drop (constant, uninformative or redundant ones), leaks, keys and rare categories.

    Args:
        findings: What `compute_findings` has found so far.

    Returns:
        One entry for each column or 0/1 column, with `column`, `action` and `reason`. A pair of which one
        column goes already is no pair any more; of any other pair the column with less information goes
        (the second one where both have the same).
    """
    found: dict[str, tuple[str, str]] = {}
    for name, action, reason in (*_of_constants(findings), *_of_columns(findings)):
        found.setdefault(name, (action, reason))
    for dropped, kept, reason in _of_pairs(findings):
        if dropped not in found and kept not in found:
            found[dropped] = "drop", reason
    for name, column in findings["categories"].items():
        if name not in found and column["n_rare"] and column["others"]:
            found[name] = (
                "merge rare",
                f"{number(column['n_rare'])} of {number(column['n_values'])} categories have fewer than "
                f"{RARE} rows: min_count: {RARE} makes them one category.",
            )
    return [{"column": name, "action": action, "reason": reason} for name, (action, reason) in found.items()]


def _of_constants(findings: dict[str, Any]) -> Iterator[Suggestion]:
    n_rows, columns = findings["table"]["n_rows"], findings["columns"]
    parts = {
        part: category
        for column in findings["categories"].values()
        if column["is_one_hot"]
        for part, category in column["categories"].items()
    }
    for name in findings["constancy"]["constant"]:
        yield name, "drop", _constant(columns.get(name), n_rows)
    for name in findings["constancy"]["nearly_constant"]:
        of_part = parts[name]["information_nat"] if name in parts else None
        nat = findings["mutual_information"]["columns_nat"][name] if of_part is None else of_part
        if nat < LITTLE_INFORMATION:
            reason = _nearly_constant(columns.get(name), parts.get(name), n_rows)
            information = f"its mutual information with {findings['target']['column']} is {nat:.5f} nat"
            yield name, "drop", f"{reason}, and {information}, below {LITTLE_INFORMATION} nat."


def _of_columns(findings: dict[str, Any]) -> Iterator[Suggestion]:
    target, mutual = findings["target"], findings["mutual_information"]
    for name, nat in mutual["columns_nat"].items():
        column = findings["columns"][name]
        n_present = findings["table"]["n_rows"] - column["n_missing"]
        information = f"its mutual information with {target['column']} is"
        if column["kind"] == "categorical" and column["n_distinct"] > max(KEY_SHARE * n_present, 20):
            n_distinct = f"{number(column['n_distinct'])} in {number(n_present)} rows"
            reason = f"Nearly every row has a value of its own ({n_distinct})"
            yield name, "key", f"{reason}: declare it as kind: key, or drop it."
        elif nat > LEAK_SHARE * target["entropy_nat"]:
            reason = f"Gives the class away: {information} {nat:.3f} of {target['entropy_nat']:.3f} nat"
            yield name, "check", f"{reason}. Ignore it unless it is known before the class is."
        elif name in mutual["uninformative"]:
            reason = f"Uninformative: {information} below {LITTLE_INFORMATION} nat"
            yield (
                name,
                "drop",
                f"{reason}. Only together with other columns can it be of use: try without it.",
            )


def _of_pairs(findings: dict[str, Any]) -> Iterator[Suggestion]:
    """Give pairs of which one column is enough: the less informative one, the other, and the reason."""
    pairs = [
        (*pair["columns"], f"its correlation with {{}} is {number(pair['pearson'])}")
        for pair in findings["correlation"]["high_pairs"]
    ]
    n_values = {
        name: (column["n_values"], column["missing"] is None)
        for name, column in findings["categories"].items()
    }
    pairs += [
        (other, name, "each of its categories goes with one of {}")
        for name, found in findings["association"].items()
        for other, value in found.items()
        if value >= SAME and n_values.get(other) == n_values[name] and other < name
    ]
    information, target = findings["mutual_information"]["columns_nat"], findings["target"]["column"]
    for first, second, what in pairs:
        dropped, kept = (first, second) if information[first] < information[second] else (second, first)
        less = f"{information[dropped]:.3f} nat against {information[kept]:.3f} nat"
        reason = f"Redundant: {what.format(kept)}, and it has less information on {target} ({less})."
        yield dropped, kept, reason


def _constant(column: dict[str, Any] | None, n_rows: int) -> str:
    if column is None:
        return f"Constant: it is 0 in all {n_rows:,} rows."
    if not column["n_distinct"]:
        return f"Constant: it has no value in any of the {n_rows:,} rows."
    rest = "wherever it has a value" if column["n_missing"] else f"in all {n_rows:,} rows"
    return f"Constant: it is {number(column['most_frequent'])} {rest}."


def _nearly_constant(column: dict[str, Any] | None, category: dict[str, Any] | None, n_rows: int) -> str:
    if category is not None:
        value, n_others = "0", category["n_rows"]
    else:
        assert column is not None
        n_missing = column["n_missing"]
        n_most = round(column["most_frequent_share"] * (n_rows - n_missing))
        value, n_others = number(column["most_frequent"]), n_rows - n_most
        if n_missing > n_most:
            value, n_others = "missing", n_rows - n_missing
    share = percent(1 - n_others / n_rows)
    return f"Nearly constant: it is {value} in {share} of the rows (all but {n_others:,})"

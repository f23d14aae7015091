"""Suggest what to change in `params.yaml`, and say why."""

from collections.abc import Iterator
from typing import Any

from canopy.explore.columns import RARE, with_parts
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

    There is one entry for each column or 0/1 column. A pair of which one column goes already is no pair any
    more; of any other pair the column with less information goes (the second one where both have the same).
    """
    found: dict[str, tuple[str, str]] = {}
    for name, action, reason in (*_of_constants(findings), *_of_columns(findings)):
        found.setdefault(name, (action, reason))
    for dropped, kept, reason in _of_pairs(findings):
        if dropped not in found and kept not in found:
            found[dropped] = "drop", reason
    for name, column in findings["categories"].items():
        if name not in found and column["n_rare"] and column["others"]:
            n_rare = f"{number(column['n_rare'])} of {number(column['n_values'])} categories"
            merge = f"min_count: {RARE} makes them one category"
            found[name] = "merge rare", f"{n_rare} have fewer than {RARE} rows: {merge}."
    return [{"column": name, "action": action, "reason": reason} for name, (action, reason) in found.items()]


def _of_constants(findings: dict[str, Any]) -> Iterator[Suggestion]:
    n_rows, information = findings["table"]["n_rows"], findings["mutual_information"]["columns_nat"]
    columns = with_parts(findings["columns"], findings["categories"], n_rows)
    for name in findings["constancy"]["constant"]:
        what = f"has no value in any of the {n_rows:,} rows"
        if columns[name]["n_distinct"]:
            where = "wherever it has a value" if columns[name]["n_missing"] else f"in all {n_rows:,} rows"
            what = f"is {number(columns[name]['most_frequent'])} {where}"
        yield name, "drop", f"Constant: it {what}."
    for name in findings["constancy"]["nearly_constant"]:
        column = columns[name]
        nat = information[name] if name in information else column["information_nat"]
        if nat < LITTLE_INFORMATION:
            value, n_missing = number(column["most_frequent"]), column["n_missing"]
            n_others = n_rows - round(column["most_frequent_share"] * (n_rows - n_missing))
            if n_rows - n_missing < n_others:
                value, n_others = "missing", n_rows - n_missing
            most = f"it is {value} in {percent(1 - n_others / n_rows)} of the rows (all but {n_others:,})"
            little = f"{_its_information(findings)} is {nat:.5f} nat, below {LITTLE_INFORMATION} nat"
            yield name, "drop", f"Nearly constant: {most}, and {little}."


def _of_columns(findings: dict[str, Any]) -> Iterator[Suggestion]:
    mutual, entropy = findings["mutual_information"], findings["target"]["entropy_nat"]
    for name, nat in mutual["columns_nat"].items():
        column = findings["columns"][name]
        n_distinct, n_present = column["n_distinct"], findings["table"]["n_rows"] - column["n_missing"]
        information = f"{_its_information(findings)} is"
        if column["kind"] == "categorical" and n_distinct > max(KEY_SHARE * n_present, 20):
            values = f"its own value ({number(n_distinct)} in {number(n_present)} rows)"
            yield name, "key", f"Nearly every row has {values}: declare it as kind: key, or drop it."
        elif nat > LEAK_SHARE * entropy:
            reason = f"Gives the class away: {information} {nat:.3f} of {entropy:.3f} nat"
            yield name, "check", f"{reason}. Ignore it unless it is known before the class is."
        elif name in mutual["uninformative"]:
            reason = f"Uninformative: {information} below {LITTLE_INFORMATION} nat"
            hint = "Only together with other columns can it be of use: try without it"
            yield name, "drop", f"{reason}. {hint}."


def _its_information(findings: dict[str, Any]) -> str:
    return f"its mutual information with {findings['target']['column']}"


def _of_pairs(findings: dict[str, Any]) -> Iterator[Suggestion]:
    """Give pairs of which one column is enough: the less informative one, the other, and the reason."""
    pairs = [
        (*pair["columns"], f"its correlation with {{}} is {number(pair['pearson'])}")
        for pair in findings["correlation"]["high_pairs"]
    ]
    categories = findings["categories"]
    n_values = {name: (found["n_values"], found["missing"] is None) for name, found in categories.items()}
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

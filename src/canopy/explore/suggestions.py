"""Suggest what to change in `params.yaml`."""

from collections.abc import Iterator
from typing import Any

from canopy.explore.columns import RARE
from canopy.explore.information import LITTLE_INFORMATION
from canopy.explore.wording import number, percent

# From this share of the classes' entropy on a column gives the class away; with so many distinct values per
# row it seems to name rows.
LEAK_SHARE, KEY_SHARE = 0.95, 0.95


def with_parts(columns: dict[str, Any], categories: dict[str, Any]) -> dict[str, Any]:
    """Choose the features, and describe each 0/1 column as they are: by its most frequent value, 0."""
    kinds = ("numeric", "categorical", "datetime")
    features = {name: column for name, column in columns.items() if column["kind"] in kinds}
    for column in categories.values():
        for name, category in column["categories"].items() if column["is_one_hot"] else ():
            share = category["share"]
            features[name] = category | {"kind": "0/1", "n_missing": 0, "n_distinct": 1 + (share > 0)}
            features[name] |= {"most_frequent": "0", "most_frequent_share": 1 - share}
    return features


def find_constant(
    columns: dict[str, Any], categories: dict[str, Any], *, n_rows: int, share: float
) -> dict[str, Any]:
    """Find features and 0/1 columns that have one value in all rows, or in at least a share of them."""
    constant, nearly = [], []
    for name, column in with_parts(columns, categories).items():
        n_missing = column["n_missing"]
        # A missing value is a value of a categorical column.
        if column["n_distinct"] + (column["kind"] == "categorical" and n_missing > 0) <= 1:
            constant.append(name)
        elif max(column["most_frequent_share"] * (n_rows - n_missing), n_missing) >= share * n_rows:
            nearly.append(name)
    return {"nearly_constant_share": share, "constant": constant, "nearly_constant": nearly}


def suggest(findings: dict[str, Any]) -> list[dict[str, str]]:
    """Find features to drop (constant, uninformative or redundant ones), leaks, keys and rare categories.

    There is one entry for each column or 0/1 column.
    """
    found: dict[str, tuple[str, str]] = {}
    for name, action, reason in (*_of_constants(findings), *_of_columns(findings)):
        found.setdefault(name, (action, reason))
    information = findings["mutual_information"]["columns_nat"]
    for pair in findings["correlation"]["high_pairs"]:
        # Of a pair of columns that both stay so far, the less informative one goes, or the second one.
        kept, dropped = sorted(pair["columns"], key=lambda name: -information[name])
        if dropped not in found and kept not in found:
            correlated = f"its correlation with {kept} is {number(pair['pearson'])}"
            less = f"{information[dropped]:.3f} nat of information against {information[kept]:.3f} nat"
            found[dropped] = "drop", f"Redundant: {correlated}, and it has {less}."
    for name, column in findings["categories"].items():
        if name not in found and column["n_rare"] and column["others"]:
            n_rare = f"{column['n_rare']:,} of {column['n_values']:,} categories have fewer than {RARE} rows"
            found[name] = "merge rare", f"{n_rare}: min_count: {RARE} makes them one category."
    return [{"column": name, "action": action, "reason": reason} for name, (action, reason) in found.items()]


def _of_constants(findings: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    n_rows, information = findings["table"]["n_rows"], findings["mutual_information"]["columns_nat"]
    columns = with_parts(findings["columns"], findings["categories"])
    for name in findings["constancy"]["constant"]:
        value = columns[name]["most_frequent"]
        yield name, "drop", f"Constant: the only value is {'missing' if value is None else number(value)}."
    for name in findings["constancy"]["nearly_constant"]:
        column = columns[name]
        nat = information[name] if name in information else column["information_nat"]
        if nat < LITTLE_INFORMATION:
            value, n_missing = number(column["most_frequent"]), column["n_missing"]
            n_most = round(column["most_frequent_share"] * (n_rows - n_missing))
            if n_missing > n_most:
                value, n_most = "missing", n_missing
            most = f"it is {value} in {percent(n_most / n_rows)} of the rows (all but {n_rows - n_most:,})"
            yield name, "drop", f"Nearly constant: {most}, and has {nat:.5f} nat of information on the class."


def _of_columns(findings: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    table, mutual = findings["table"], findings["mutual_information"]
    entropy = findings["target"]["entropy_nat"]
    for name, nat in mutual["columns_nat"].items():
        column = findings["columns"][name]
        n_present = round(table["n_sampled_rows"] * (1 - column["n_missing"] / table["n_rows"]))
        n_distinct = column["n_distinct"]
        if column["kind"] == "categorical" and n_distinct > max(KEY_SHARE * n_present, 20):
            values = f"its own value ({n_distinct:,} in {n_present:,} rows)"
            yield name, "key", f"Nearly every row has {values}: declare it as kind: key, or drop it."
        elif nat > LEAK_SHARE * entropy:
            most = f"{nat:.3f} of {entropy:.3f} nat of information on the class"
            yield name, "check", f"Gives the class away: {most}. Ignore it unless it is known before."
        elif name in mutual["uninformative"]:
            little = f"less than {LITTLE_INFORMATION} nat of information on the class"
            yield name, "drop", f"Uninformative: {little}, unless together with other columns."

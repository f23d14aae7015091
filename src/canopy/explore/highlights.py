"""Summarise in sentences what stands out among the findings."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from canopy.explore.wording import fixed, listing, number, percent

# A largest class this many times the smallest calls for attention.
UNBALANCED = 1.5


class Highlight(NamedTuple):
    """One thing that stands out, and the anchor of the section with the details."""

    section: str
    headline: str
    text: str


def find_highlights(findings: dict[str, Any]) -> list[Highlight]:
    """Choose what to know first: class balance, faults, information, redundancy and suggestions."""
    correlation = findings["correlation"]
    return [
        Highlight("target", *_balance(findings["target"])),
        Highlight("quality", *_faults(findings)),
        Highlight("information", *_information(findings)),
        *([Highlight("correlation", *_redundancy(correlation))] if correlation["closest_pairs"] else []),
        Highlight("suggestions", *_suggestions(findings["suggestions"])),
    ]


def _balance(target: dict[str, Any]) -> tuple[str, str]:
    classes, ratio = target["classes"], target["largest_to_smallest"]
    n_rows = {name: found["n_rows"] for name, found in classes.items() if found["n_rows"]}
    largest, smallest = max(n_rows, key=n_rows.__getitem__), min(n_rows, key=n_rows.__getitem__)
    share = percent(classes[largest]["share"])
    headline = "The classes are about equally large"
    text = f"{largest} has {share} of the rows, {smallest} {percent(classes[smallest]['share'])}."
    if ratio >= UNBALANCED:
        headline = f"The largest class has {number(ratio, 3)} times the rows of the smallest"
        text += (
            f" Always predicting {largest} has an accuracy of {share}, so accuracy alone shows little about "
            "the small classes: look at balanced accuracy too."
        )
    if empty := [name for name in classes if name not in n_rows]:
        text += f" No row is of class {listing(empty)}."
    return headline, text


def _faults(findings: dict[str, Any]) -> tuple[str, str]:
    table, columns = findings["table"], findings["columns"]
    invalid: Counter[str] = Counter()
    for problem in findings["problems"]:
        invalid[problem["column"]] += problem["n_rows"]
    missing = [name for name, column in columns.items() if column.get("n_missing")]
    outside = {name: n for name, column in columns.items() if (n := column.get("n_out_of_range"))}
    faults: list[tuple[str, int, Iterable[str]]] = [
        ("Values that no column may have", invalid.total(), invalid),
        ("Missing values", table["n_missing_values"], missing),
        ("Values out of range", sum(outside.values()), outside),
        ("Rows without a label", table["n_unlabelled_rows"], []),
        ("Rows that repeat another one", table["n_duplicate_rows"], []),
    ]
    found = [fault for fault in faults if fault[1]]
    if not found:
        text = f"All {number(table['n_rows'])} rows have a value in every column, and no row repeats another."
        return "No missing values, no duplicate rows", text
    only_missing = [what for what, *_ in found] == ["Missing values"]
    text = " ".join(
        f"{what}: {number(n)}{', in ' + listing([*names]) if names else ''}." for what, n, names in found
    )
    return "Some values are missing" if only_missing else "The table has faults", text


def _information(findings: dict[str, Any]) -> tuple[str, str]:
    entropy = findings["target"]["entropy_nat"]
    (best, nat), *others = findings["mutual_information"]["columns_nat"].items()
    text = (
        f"On its own it has {fixed(nat)} nat of information on the class, of the {fixed(entropy)} nat that "
        f"there are ({percent(nat / entropy if entropy else 0)})"
    )
    if others:
        text += ", ahead of " + listing([f"{name} ({fixed(found)})" for name, found in others[:3]])
    return f"{best} is the most informative feature", f"{text}."


def _redundancy(correlation: dict[str, Any]) -> tuple[str, str]:
    limit = correlation["high_correlation"]
    # The multiple correlation is the root of the variance explained.
    shares = correlation["variance_explained_by_others"]
    explained = sorted((name for name in shares if shares[name] >= limit**2), key=lambda name: -shares[name])
    pairs = [
        f"{' and '.join(pair['columns'])} ({fixed(pair['pearson'])})"
        for pair in correlation["high_pairs"] or correlation["closest_pairs"][:1]
    ]
    if correlation["high_pairs"]:
        n_pairs = "One pair of columns is" if len(pairs) == 1 else f"{len(pairs)} pairs of columns are"
        headline, text = f"{n_pairs} highly correlated", f"From |r| = {limit} on: {listing(pairs)}."
    else:
        headline = "No pair of columns is highly correlated"
        headline += ", yet some are redundant" if explained else ""
        text = f"None reaches |r| = {limit}; the closest are {pairs[0]}."
    if explained:
        names = listing([f"{name} ({percent(shares[name])})" for name in explained])
        text += f" All other numeric columns together explain most of the variance of {names}."
    return headline, text


def _suggestions(suggestions: list[dict[str, str]]) -> tuple[str, str]:
    if not suggestions:
        text = "No column is constant, uninformative, redundant or a key, and none gives the class away."
        return "There is nothing to change", text
    kinds: dict[str, list[str]] = {}
    for item in suggestions:
        reason = item["reason"].partition(":")[0].lower() if item["action"] == "drop" else ""
        kinds.setdefault(" ".join([item["action"].capitalize(), reason]).strip(), []).append(item["column"])
    n_columns = "one column" if len(suggestions) == 1 else f"{len(suggestions)} columns"
    text = " ".join(f"{kind}: {listing(names)}." for kind, names in kinds.items())
    return f"There are suggestions for {n_columns}", text

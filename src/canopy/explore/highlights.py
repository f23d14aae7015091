"""Summarise in sentences what stands out among the findings."""

from dataclasses import dataclass
from typing import Any

from canopy.explore.wording import fixed, listing, number, percent

# A largest class this many times the smallest calls for attention.
UNBALANCED = 1.5


@dataclass(frozen=True, kw_only=True)
class Highlight:
    """One thing that stands out.

    Attributes:
        headline: A few words.
        text: One to three sentences with the figures.
        section: Anchor of the section with the details.
    """

    headline: str
    text: str
    section: str


def find_highlights(findings: dict[str, Any]) -> list[Highlight]:
    """Choose what to know first.

    Args:
        findings: What `compute_findings` returns.

    Returns:
        Class balance, faults in the data, most informative features, redundancy and suggestions.
    """
    return [
        _balance(findings["target"]),
        _faults(findings),
        _information(findings),
        *_redundancy(findings["correlation"]),
        _suggestions(findings["suggestions"]),
    ]


def _balance(target: dict[str, Any]) -> Highlight:
    classes = {name: found for name, found in target["classes"].items() if found["n_rows"]}
    largest = max(classes, key=lambda name: classes[name]["n_rows"])
    smallest = min(classes, key=lambda name: classes[name]["n_rows"])
    ratio = target["largest_to_smallest"]
    share = percent(classes[largest]["share"])
    text = f"{largest} has {share} of the rows, {smallest} {percent(classes[smallest]['share'])}."
    if ratio < UNBALANCED:
        headline = "The classes are about equally large"
    else:
        headline = f"The largest class has {number(ratio, 3)} times the rows of the smallest"
        text += (
            f" Always predicting {largest} has an accuracy of {share}, so accuracy alone shows little about "
            "the small classes: look at balanced accuracy too."
        )
    if empty := [name for name in target["classes"] if name not in classes]:
        text += f" No row is of class {listing(empty)}."
    return Highlight(headline=headline, text=text, section="target")


def _faults(findings: dict[str, Any]) -> Highlight:
    table, columns = findings["table"], findings["columns"]
    faults = []
    if problems := findings["problems"]:
        names = listing([*dict.fromkeys(problem["column"] for problem in problems)])
        n_rows = sum(problem["n_rows"] for problem in problems)
        faults.append(f"Values that no column may have: {number(n_rows)}, in {names}.")
    if n_missing := table["n_missing_values"]:
        names = listing([name for name, column in columns.items() if column.get("n_missing")])
        faults.append(f"Missing values: {number(n_missing)}, in {names}.")
    if outside := [name for name, column in columns.items() if column.get("n_out_of_range")]:
        n_outside = sum(columns[name]["n_out_of_range"] for name in outside)
        faults.append(f"Values out of range: {number(n_outside)}, in {listing(outside)}.")
    if n_unlabelled := table["n_unlabelled_rows"]:
        faults.append(f"Rows without a label: {number(n_unlabelled)}.")
    if n_duplicates := table["n_duplicate_rows"]:
        faults.append(f"Rows that repeat another one: {number(n_duplicates)}.")
    if faults:
        headline = "Some values are missing" if n_missing and len(faults) == 1 else "The table has faults"
        return Highlight(headline=headline, text=" ".join(faults), section="quality")
    text = f"All {number(table['n_rows'])} rows have a value in every column, and no row repeats another."
    return Highlight(headline="No missing values, no duplicate rows", text=text, section="quality")


def _information(findings: dict[str, Any]) -> Highlight:
    entropy = findings["target"]["entropy_nat"]
    (best, nat), *others = findings["mutual_information"]["columns_nat"].items()
    text = (
        f"On its own it has {fixed(nat)} nat of information on the class, of the {fixed(entropy)} nat that "
        f"there are ({percent(nat / entropy if entropy else 0)})"
    )
    if others:
        text += ", ahead of " + listing([f"{name} ({fixed(found)})" for name, found in others[:3]])
    return Highlight(
        headline=f"{best} is the most informative feature", text=f"{text}.", section="information"
    )


def _redundancy(correlation: dict[str, Any]) -> list[Highlight]:
    if not correlation["closest_pairs"]:
        return []
    limit = correlation["high_correlation"]
    pairs = [
        f"{' and '.join(pair['columns'])} ({fixed(pair['pearson'])})" for pair in correlation["high_pairs"]
    ]
    closest = correlation["closest_pairs"][0]
    # The multiple correlation is the root of the variance explained.
    explained = {
        name: share
        for name, share in correlation["variance_explained_by_others"].items()
        if share >= limit**2
    }
    if pairs:
        n_pairs = "One pair of columns is" if len(pairs) == 1 else f"{len(pairs)} pairs of columns are"
        headline = f"{n_pairs} highly correlated"
        text = f"From |r| = {limit} on: {listing(pairs)}."
    else:
        headline = "No pair of columns is highly correlated"
        text = (
            f"None reaches |r| = {limit}; the closest are {' and '.join(closest['columns'])} "
            f"({fixed(closest['pearson'])})."
        )
    if explained:
        headline += ", yet some are redundant" if not pairs else ""
        ordered = sorted(explained, key=lambda name: -explained[name])
        shares = listing([f"{name} ({percent(explained[name])})" for name in ordered])
        text += f" All other numeric columns together explain most of the variance of {shares}."
    return [Highlight(headline=headline, text=text, section="correlation")]


def _suggestions(suggestions: list[dict[str, str]]) -> Highlight:
    if not suggestions:
        text = "No column is constant, uninformative, redundant or a key, and none gives the class away."
        return Highlight(headline="There is nothing to change", text=text, section="suggestions")
    kinds: dict[str, list[str]] = {}
    for item in suggestions:
        reason = item["reason"].partition(":")[0].lower() if item["action"] == "drop" else ""
        kinds.setdefault(" ".join([item["action"].capitalize(), reason]).strip(), []).append(item["column"])
    text = " ".join(f"{kind}: {listing(names)}." for kind, names in kinds.items())
    n_columns = "one column" if len(suggestions) == 1 else f"{len(suggestions)} columns"
    return Highlight(headline=f"There are suggestions for {n_columns}", text=text, section="suggestions")

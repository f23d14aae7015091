"""Say in sentences what stands out among the findings."""

from dataclasses import dataclass
from typing import Any

from canopy.explore.wording import fixed, listing, number, percent

# A largest class this many times the smallest calls for attention.
UNBALANCED = 1.5


@dataclass(frozen=True, kw_only=True)
class Highlight:
    """One thing that stands out: a headline, the sentences below it and where to read on.

    Attributes:
        headline: A few words.
        text: One to three sentences with the figures.
        section: Anchor on the page.
    """

    headline: str
    text: str
    section: str


def find_highlights(findings: dict[str, Any]) -> list[Highlight]:
    """Choose what a person should know before anything else.

    Args:
        findings: What `compute_findings` gives.

    Returns:
        Class balance, faults in the data, most informative features, redundancy and what to drop.
    """
    return [
        _balance(findings["target"]),
        _faults(findings),
        _information(findings),
        *_redundancy(findings["correlation"]),
        _drops(findings["suggested_drops"]),
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
            f" Guessing {largest} every time would already be right in {share} of the cases, so accuracy "
            "alone says little about the small classes: look at balanced accuracy beside it."
        )
    if empty := [name for name in target["classes"] if name not in classes]:
        text += f" No row at all is of class {listing(empty)}."
    return Highlight(headline=headline, text=text, section="target")


def _faults(findings: dict[str, Any]) -> Highlight:
    table, groups = findings["table"], findings["groups"]
    faults = []
    if n_missing := table["n_missing_values"]:
        names = [name for name, column in findings["columns"].items() if column["n_missing"]]
        faults.append(f"Missing values: {number(n_missing)}, in {listing(names)}.")
    if n_duplicates := table["n_duplicate_rows"]:
        faults.append(f"Rows that repeat an earlier one: {number(n_duplicates)}.")
    faults += [
        f"Rows that do not set exactly one column of {name}: {number(group['n_broken_rows'])}."
        for name, group in groups.items()
        if group["n_broken_rows"]
    ]
    if faults:
        return Highlight(headline="The table has faults", text=" ".join(faults), section="quality")
    text = f"All {number(table['n_rows'])} rows have a value in every column, and no row repeats another."
    if groups:
        text += f" Each row sets exactly one column of {listing([*groups])}."
    return Highlight(headline="Nothing is missing, nothing is doubled", text=text, section="quality")


def _information(findings: dict[str, Any]) -> Highlight:
    information = findings["mutual_information"]
    entropy = findings["target"]["entropy_nat"]
    names = findings["numeric"].keys() | findings["groups"].keys()
    features = {
        name: nat
        for name, nat in (information["columns_nat"] | information["groups_nat"]).items()
        if name in names
    }
    best, *others = sorted(features, key=lambda name: -features[name])
    text = (
        f"By itself it tells {fixed(features[best])} of the {fixed(entropy)} nat that the class holds"
        f" ({percent(features[best] / entropy if entropy else 0)})"
    )
    if others:
        text += ", ahead of " + listing([f"{name} ({fixed(features[name])})" for name in others[:3]])
    return Highlight(headline=f"{best} tells most about the class", text=text + ".", section="information")


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


def _drops(suggested: list[dict[str, str]]) -> Highlight:
    if not suggested:
        text = "None is constant, uninformative and nearly constant, or highly correlated with another one."
        return Highlight(headline="No column needs to go", text=text, section="drops")
    names = [item["column"] for item in suggested]
    kinds = [item["reason"].split(":")[0].lower() for item in suggested]
    counted = listing([f"{kinds.count(kind)} of them {kind}" for kind in dict.fromkeys(kinds)])
    why = kinds[0] if len(set(kinds)) == 1 else counted
    headline = "One column can go" if len(names) == 1 else f"{len(names)} columns can go"
    return Highlight(headline=headline, text=f"{listing(names)}: {why}.", section="drops")

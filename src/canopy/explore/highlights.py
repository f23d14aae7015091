"""Summarise in sentences what stands out among the findings."""

from typing import Any

from canopy.explore.wording import fixed, listing, number, percent


def find_highlights(findings: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Choose what to know first: the section with the details, a headline and a text of each highlight."""
    target, correlation = findings["target"], findings["correlation"]
    entropy = target["entropy_nat"]
    (best, nat), *others = findings["mutual_information"]["columns_nat"].items()
    text = f"On its own it has {fixed(nat)} of {fixed(entropy)} nat of information on the class"
    if others:
        text += ", ahead of " + listing([f"{name} ({fixed(found)})" for name, found in others[:3]])
    return [
        ("target", *_balance(target)),
        ("quality", *_faults(findings)),
        ("information", f"{best} is the most informative feature", f"{text}."),
        *([("correlation", *_redundancy(correlation))] if correlation["closest_pairs"] else []),
        ("suggestions", *_suggestions(findings["suggestions"])),
    ]


def _balance(target: dict[str, Any]) -> tuple[str, str]:
    shares = {name: found["share"] for name, found in target["classes"].items() if found["n_rows"]}
    largest, smallest = max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__)
    text = f"{largest} has {percent(shares[largest])} of the rows, {smallest} {percent(shares[smallest])}."
    if empty := [name for name in target["classes"] if name not in shares]:
        text += f" No row is of class {listing(empty)}."
    ratio = number(target["largest_to_smallest"], 3)
    return f"The largest class has {ratio} times the rows of the smallest", text


def _faults(findings: dict[str, Any]) -> tuple[str, str]:
    table = findings["table"]
    counts = {
        "values that no column may have": sum(problem["n_rows"] for problem in findings["problems"]),
        "missing values": table["n_missing_values"],
        "values out of range": sum(found.get("n_out_of_range", 0) for found in findings["columns"].values()),
        "rows without a label": table["n_unlabelled_rows"],
        "rows that repeat another one": table["n_duplicate_rows"],
    }
    if found := [f"{n:,} {what}" for what, n in counts.items() if n]:
        return "The table has faults", f"It has {listing(found)}."
    return "No missing values, no duplicate rows", "All rows have a valid value in every column."


def _redundancy(correlation: dict[str, Any]) -> tuple[str, str]:
    limit, high = correlation["high_correlation"], correlation["high_pairs"]
    pairs = [
        f"{' and '.join(pair['columns'])} ({fixed(pair['pearson'])})"
        for pair in high or correlation["closest_pairs"][:1]
    ]
    headline = f"{len(high) or 'No'} pairs of columns are highly correlated"
    text = f"{'From' if high else 'None reaches'} |r| = {limit}: {listing(pairs)}."
    # The multiple correlation is the root of the variance explained.
    shares = correlation["variance_explained_by_others"]
    if explained := [f"{name} ({percent(share)})" for name, share in shares.items() if share >= limit**2]:
        text += f" All other numeric columns together explain most of the variance of {listing(explained)}."
    return headline, text


def _suggestions(suggestions: list[dict[str, str]]) -> tuple[str, str]:
    kinds: dict[str, list[str]] = {}
    for item in suggestions:
        kinds.setdefault(item["action"].capitalize(), []).append(item["column"])
    text = " ".join(f"{kind}: {listing(names)}." for kind, names in kinds.items())
    none = "No column is constant, uninformative, redundant or a key, and none gives the class away."
    return f"Suggested changes: {len(suggestions) or 'none'}", text or none

"""Find groups of 0/1 columns that are one category, written as one column for each value."""

import re
from collections import defaultdict
from collections.abc import Mapping

from canopy.schema.columns import Categorical, Numeric
from canopy.tables.draft.finding import Finding
from canopy.tables.draft.store import ColumnStore

# Of two, one says the same as the other.
N_LEAST = 3


def group_name(name: str) -> str:
    """Take the last part off a name.

    Examples:
        >>> [group_name(name) for name in ("soil_12", "soil_type12", "colour=red", "dark")]
        ['soil', 'soil_type', 'colour', '']
    """
    found = re.fullmatch(r"(.+?)[\W_]?\d+", name) or re.fullmatch(r"(.+)[\W_][^\W_]+", name)
    return found[1] if found else ""


def find_groups(store: ColumnStore, findings: Mapping[int, Finding]) -> dict[str, list[int]]:
    """Find the groups: 0/1 columns with one beginning of their names, of which each row sets exactly one.

    Returns:
        Name of each group, and its columns.
    """
    candidates: dict[str, list[int]] = defaultdict(list)
    names = {finding.name for finding in findings.values()}
    for index, finding in findings.items():
        values = {value.text for value in store.first(index, 3)}
        if isinstance(finding.column, Numeric) and values <= {"0", "1"} and not finding.markers:
            candidates[group_name(finding.name)].append(index)
    groups = {}
    for name, columns in candidates.items():
        if not name or name in names or len(columns) < N_LEAST:
            continue
        n_set = " + ".join(f"(c{index} = '1')::INTEGER" for index in columns)
        if store.row(f"SELECT min({n_set}), max({n_set}) FROM rows") == (1, 1):
            groups[name] = columns
    return groups


def merge_group(name: str, members: list[Finding]) -> Finding:
    """Describe the category that a group of columns is."""
    column = Categorical(one_hot={member.name: member.name for member in members})
    looks = [f"{member.name} {look}" for member in members for look in member.looks]
    return Finding(name, column, f"{len(members)} columns of 0 and 1, of which each row sets one", looks)

"""Find what a column of texts is: categories, keys or free text; and which 0/1 columns are one category."""

import re
from collections import defaultdict
from collections.abc import Sequence

from canopy.schema.columns import Categorical, Key, Numeric
from canopy.tables.draft.markers import remove_placeholder
from canopy.tables.draft.values import ColumnValues, Finding
from canopy.tables.draft.wording import percent, quote_all, shorten

# From so many categories on, rare ones become `other`.
N_FREQUENT, N_CATEGORIES = 50, 5000
# Share of the rows that are for training, with the sizes that the draft gives the parts.
TRAINING_SHARE = 0.64
SPLITS = {"train", "training", "test", "val", "valid", "validation"}

# Words of a text, and a number with any marks.
N_WORDS = "1 + length(text) - length(replace(text, ' ', ''))"
OTHER_NUMBER = r"[+-]?\d{1,3}([., ']?\d{3})*[.,]\d+"

# A text of so many words is free text, unless few different ones repeat.
LEAST_WORDS = 3
FREE_TEXT_SHARE = 0.2
# With more different values per row than this, most say nothing of other rows.
MANY_VALUES_SHARE = 0.5

# Of two 0/1 columns, one says the same as the other.
LEAST_GROUP = 3


def set_text_kind(values: ColumnValues) -> None:
    """Find what a column is whose values are neither numbers nor dates."""
    remove_placeholder(values)
    finding = values.finding
    n_words, are_numbers = values.ask(
        f"sum(n * ({N_WORDS})) / sum(n), bool_and(regexp_full_match(text, ?))", OTHER_NUMBER
    )
    if are_numbers:
        finding.looks.append("numbers with other decimal or thousands marks than table.file has?")
    share, are_many = values.n_values / values.n_filled, values.n_values > N_FREQUENT
    if n_words >= LEAST_WORDS and share > FREE_TEXT_SHARE and are_many:
        finding.why = f"free text: {values.n_values:,} different ones, {n_words:.0f} words on average"
    elif values.is_unique:
        finding.column, finding.why = Key(), "another value in each row"
    elif share > MANY_VALUES_SHARE and are_many:
        finding.why = f"{values.n_values:,} different values in {values.n_filled:,} rows"
    else:
        set_categorical(values)


def set_categorical(values: ColumnValues) -> None:
    """Make a column a category, its rare values `other` if it has many."""
    finding = values.finding
    finding.column = Categorical()
    top = values.first(4, order="n DESC, text" if values.n_values > 4 else "text")
    finding.why = f"{values.n_values:,} {'value' if values.n_values == 1 else 'values'}: {quote_all(top)}"
    if values.n_values > N_FREQUENT:
        _set_limits(values)
    if values.n_values <= len(SPLITS):
        names = {value.text.lower() for value in values.first(len(SPLITS))}
        if names <= SPLITS and "test" in names:
            finding.looks.append("a given split? Then {kind: ignored}")
    same = values.table.connection.execute(
        f"SELECT min(text), max(text) FROM values_{values.index} "
        "GROUP BY lower(text) HAVING count(*) > 1 LIMIT 1"
    ).fetchone()
    if same is not None:
        finding.looks.append(f"'{shorten(same[0])}' and '{shorten(same[1])}' are two values")


def _set_limits(values: ColumnValues) -> None:
    """Choose which values are too rare: those of few training rows, unless most rows have such a value."""
    finding = values.finding
    for min_count in (5, 2):
        (n_kept,) = values.table.ask(
            f"SELECT coalesce(sum(n), 0) FROM (SELECT n FROM values_{values.index} "
            f"WHERE n * {TRAINING_SHARE} >= {min_count} ORDER BY n DESC LIMIT {N_CATEGORIES})"
        )
        if n_kept > values.n_filled / 2:
            break
    finding.set(min_count=min_count)
    if values.n_values > N_CATEGORIES:
        finding.set(max_categories=N_CATEGORIES)
    if n_kept < 0.9 * values.n_filled:
        n_other = percent(values.n_filled - n_kept, values.n_filled)
        finding.looks.append(f"with min_count {min_count}, some {n_other} of the rows become 'other'")


def group_name(name: str) -> str:
    """Take the last part off a name.

    Examples:
        >>> [group_name(name) for name in ("soil_12", "soil_type12", "colour=red", "dark")]
        ['soil', 'soil_type', 'colour', '']
    """
    found = re.fullmatch(r"(.+?)[\W_]?\d+", name) or re.fullmatch(r"(.+)[\W_][^\W_]+", name)
    return found[1] if found else ""


def merge_groups(columns: Sequence[ColumnValues]) -> list[Finding]:
    """Give the findings, those of a group of 0/1 columns as one category in the place of its first column.

    A group are columns with one beginning of their names, of which each row sets exactly one.
    """
    candidates: dict[str, list[ColumnValues]] = defaultdict(list)
    for values in columns:
        texts = {value.text for value in values.first(3)}
        if isinstance(values.finding.column, Numeric) and texts <= {"0", "1"} and not values.finding.markers:
            candidates[group_name(values.finding.name)].append(values)
    findings = {values.finding.name: values.finding for values in columns}
    taken = {"", *findings}
    for name, group in candidates.items():
        if name in taken or len(group) < LEAST_GROUP:
            continue
        n_set = " + ".join(f"(c{values.index} = '1')::INTEGER" for values in group)
        if group[0].table.ask(f"SELECT min({n_set}), max({n_set}) FROM rows") == (1, 1):
            first, *others = members = [values.finding for values in group]
            findings[first.name] = _merge(name, members)
            for member in others:
                del findings[member.name]
    return [*findings.values()]


def _merge(name: str, members: Sequence[Finding]) -> Finding:
    column = Categorical(one_hot={member.name: member.name for member in members})
    looks = [f"{member.name} {look}" for member in members for look in member.looks]
    return Finding(name, column, f"{len(members)} columns of 0 and 1, of which each row sets one", looks)

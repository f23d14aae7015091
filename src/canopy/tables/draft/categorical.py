"""Describe a categorical column, and choose which of its values are too rare."""

from canopy.schema.columns import Categorical
from canopy.tables.draft.finding import Counts, Finding, percent, quote_all, shorten
from canopy.tables.draft.store import ColumnStore, Value

# From so many categories on, rare ones become `other`.
N_FREQUENT, N_CATEGORIES = 50, 5000
# Share of the rows that are for training, with the sizes that the draft gives the parts.
TRAINING_SHARE = 0.64
SPLITS = {"train", "training", "test", "val", "valid", "validation"}


def set_categorical(store: ColumnStore, index: int, finding: Finding) -> None:
    """Make a column a category, its rare values `other` if it has many."""
    counts = Counts.of(store, index)
    finding.column = Categorical()
    top = store.first(index, 4, order="n DESC, value" if counts.n_values > 4 else "value")
    finding.why = f"{counts.n_values:,} {'value' if counts.n_values == 1 else 'values'}: {quote_all(top)}"
    if counts.n_values > N_FREQUENT:
        for min_count in (5, 2):
            (n_kept,) = store.row(
                f"SELECT coalesce(sum(n), 0) FROM (SELECT n FROM values_{index} "
                f"WHERE n * {TRAINING_SHARE} >= {min_count} ORDER BY n DESC LIMIT {N_CATEGORIES})"
            )
            if n_kept > counts.n_filled / 2:
                break
        finding.set(min_count=min_count)
        if counts.n_values > N_CATEGORIES:
            finding.set(max_categories=N_CATEGORIES)
        if n_kept < 0.9 * counts.n_filled:
            n_other = percent(counts.n_filled - n_kept, counts.n_filled)
            finding.looks.append(f"with min_count {min_count}, some {n_other} of the rows become 'other'")
    if counts.n_values <= len(SPLITS) and _names_splits(store.first(index, len(SPLITS))):
        finding.looks.append("a given split? Then {kind: ignored}")
    same = store.connection.execute(
        f"SELECT min(value), max(value) FROM values_{index} GROUP BY lower(value) HAVING count(*) > 1 LIMIT 1"
    ).fetchone()
    if same is not None:
        finding.looks.append(f"'{shorten(same[0])}' and '{shorten(same[1])}' are two values")


def _names_splits(values: list[Value]) -> bool:
    names = {value.text.lower() for value in values}
    return names <= SPLITS and "test" in names

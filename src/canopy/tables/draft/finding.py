"""What is found out about a column."""

from dataclasses import dataclass, field

from canopy.schema.columns import Column
from canopy.tables.draft.store import ColumnStore, Value


@dataclass
class Finding:
    """What a column is, and why.

    Attributes:
        name: The column.
        column: What it is in the schema; attributes that are not set are the defaults.
        why: What the values are, in a few words.
        looks: What a person should have a look at.
        markers: Texts that mean that there is no value.
        kept: Texts that often mean so, but are values here.
    """

    name: str
    column: Column
    why: str
    looks: list[str] = field(default_factory=list)
    markers: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)

    @property
    def kind(self) -> str:
        return str(getattr(self.column, "kind", "target"))

    @property
    def remark(self) -> str:
        return "; ".join(filter(None, [self.why, *self.looks]))

    def set(self, **attributes: object) -> None:
        self.column = self.column.model_copy(update=attributes)


@dataclass(frozen=True)
class Counts:
    """How many values a column has.

    Attributes:
        n_values: Number of different values.
        n_filled: Number of rows with a value.
        n_rows: Number of rows.
    """

    n_values: int
    n_filled: int
    n_rows: int

    @classmethod
    def of(cls, store: ColumnStore, index: int) -> "Counts":
        n_values, n_filled = store.row(f"SELECT count(*), coalesce(sum(n), 0) FROM values_{index}")
        return cls(n_values, n_filled, store.n_rows)

    @property
    def n_missing(self) -> int:
        return self.n_rows - self.n_filled

    @property
    def is_unique(self) -> bool:
        """Whether each row has its own value."""
        return self.n_values == self.n_rows >= 10


def shorten(text: str, length: int = 24) -> str:
    r"""Write a text on one line.

    Examples:
        >>> print(shorten("two\nlines"), shorten("abcdef", 5))
        two\nlines ab...
    """
    text = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return text if len(text) <= length else f"{text[: length - 3]}..."


def percent(n: float, n_all: int) -> str:
    """Write a share, never 0 % or 100 % of what is not none or all.

    Examples:
        >>> percent(1, 10_000), percent(57, 1000), percent(999, 1000), percent(7, 7)
        ('< 0.1 %', '5.7 %', '99.9 %', '100 %')
    """
    share = 100 * n / n_all
    if n == n_all:
        return "100 %"
    if share >= 99.9:
        return "99.9 %" if share < 99.95 else "> 99.9 %"
    return f"{share:.2g} %" if share >= 0.1 else "< 0.1 %"


def number_text(number: float) -> str:
    """Write a number of four digits or more without an exponent.

    Examples:
        >>> number_text(12345.678), number_text(0.123456), number_text(1e20)
        ('12346', '0.1235', '1e+20')
    """
    return f"{number:.0f}" if 1000 <= abs(number) < 1e15 else f"{number:.4g}"


def n_rows(n: int) -> str:
    return "1 row" if n == 1 else f"{n:,} rows"


def quote_all(values: list[Value] | list[str], n_shown: int = 3) -> str:
    """Write values in quotes.

    Examples:
        >>> quote_all(["a", "b", "c", "d"])
        "'a', 'b', 'c', ..."
    """
    texts = [value if isinstance(value, str) else value.text for value in values]
    return ", ".join(f"'{shorten(text)}'" for text in texts[:n_shown]) + (
        ", ..." if len(texts) > n_shown else ""
    )

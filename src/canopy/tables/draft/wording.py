"""Write a draft for people: its numbers and values, and one line per column."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from canopy.tables.draft.values import Finding, Value

if TYPE_CHECKING:
    from canopy.tables.draft.draft import Draft

LONGEST_NAME = 32


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


def quote_all(values: Sequence[Value | str], n_shown: int = 3) -> str:
    """Write values in quotes.

    Examples:
        >>> quote_all(["a", "b", "c", "d"])
        "'a', 'b', 'c', ..."
    """
    texts = [value if isinstance(value, str) else value.text for value in values[:n_shown]]
    more = ["..."] if len(values) > n_shown else []
    return ", ".join([*(f"'{shorten(text)}'" for text in texts), *more])


def describe(draft: "Draft") -> str:
    """Describe a table, its target and each column; an exclamation mark is before what deserves a look."""
    findings = [draft.target, *draft.columns]
    names = [shorten(finding.name, LONGEST_NAME) for finding in findings]
    width = max(map(len, names))
    more = f" and {len(draft.files) - 1} more files" if len(draft.files) > 1 else ""
    lines = [f"{draft.files[0]}{more}: {', '.join(_describe_file(draft))}"]
    lines += [_line(name.ljust(width), finding) for name, finding in zip(names, findings, strict=True)]
    return "\n".join(lines)


def _line(name: str, finding: Finding) -> str:
    return f"{'!' if finding.looks else ' '} {name}  {finding.kind:<11}  {finding.remark}"


def _describe_file(draft: "Draft") -> Iterator[str]:
    file = draft.file
    yield f"{draft.n_rows:,} rows, {len(draft.columns) + 1} columns"
    yield file.format
    if file.format == "csv":
        yield f"delimiter {file.delimiter!r}"
        if file.quote != '"':
            yield f"quote {file.quote!r}"
        if file.trim:
            yield "blanks trimmed"
    if file.encoding != "utf-8":
        yield f"{file.encoding}{' (a guess, see --file)' if file.encoding in ('cp1252', 'latin-1') else ''}"
    if file.decimal != ".":
        yield f"decimal mark {file.decimal!r}"
    if file.thousands:
        yield f"thousands {file.thousands!r}"
    if markers := [marker for marker in file.null_values if marker]:
        yield f"missing: {quote_all(markers, len(markers))}"
    if draft.n_dropped:
        yield f"{draft.n_dropped:,} lines of another form dropped"

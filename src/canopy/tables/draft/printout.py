"""Show a draft: one line per column."""

from collections.abc import Iterator

from canopy.tables.draft.draft import Draft
from canopy.tables.draft.finding import Finding, quote_all, shorten

LONGEST_NAME = 32


def describe(draft: Draft) -> str:
    """Describe a table, its target and each column; an exclamation mark is before what deserves a look."""
    names = [shorten(finding.name, LONGEST_NAME) for finding in [draft.target, *draft.columns]]
    width = max(map(len, names))
    lines = [
        _line(name, finding, width)
        for name, finding in zip(names, [draft.target, *draft.columns], strict=True)
    ]
    return "\n".join([_describe_file(draft), *lines])


def _line(name: str, finding: Finding, width: int) -> str:
    mark = "!" if finding.looks else " "
    return f"{mark} {name:<{width}}  {finding.kind:<11}  {finding.remark}"


def _describe_file(draft: Draft) -> str:
    file = draft.file
    parts = [f"{draft.n_rows:,} rows, {len(draft.columns) + 1} columns", *_dialect(draft)]
    if markers := [marker for marker in file.null_values if marker]:
        parts.append(f"missing: {quote_all(markers, len(markers))}")
    if draft.n_dropped:
        parts.append(f"{draft.n_dropped:,} lines of another form dropped")
    files = f"{draft.files[0]}" + (f" and {len(draft.files) - 1} more files" if len(draft.files) > 1 else "")
    return f"{files}: {', '.join(parts)}"


def _dialect(draft: Draft) -> Iterator[str]:
    file = draft.file
    yield file.format
    if file.format == "csv":
        yield f"delimiter {file.delimiter!r}"
        if file.quote != '"':
            yield f"quote {file.quote!r}"
        if file.trim:
            yield "blanks trimmed"
    if file.encoding != "utf-8":
        guess = " (a guess, see --file)" if file.encoding in ("cp1252", "latin-1") else ""
        yield f"{file.encoding}{guess}"
    if file.decimal != ".":
        yield f"decimal mark {file.decimal!r}"
    if file.thousands:
        yield f"thousands {file.thousands!r}"

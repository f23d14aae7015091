"""Names that a reader of YAML, configs, commands or formulas takes for something else."""

from hypothesis import strategies as st

ODD_NAMES = [
    *("???", "\\???", "${z}", "\\${z}", "${", "a${b", "$x^$", "695e0514", "1e5", "on", "null", "~", "true"),
    *("0x10", "0o17", "1_000", "12:30:00", "2024-01-01", "=", "<<", ".inf", "a.b", "[x]", "{e}", "*", "a, b"),
    *("'", '"', "a\"b'c", "back\\", "\\'", '\\\\"', "trailing\\\\", "#c", "- d", "key: value", " blank "),
    *("%", "!t", "&a", "|", ">", "`", "@", "a=b", "a/b", "é", "日本", "😀"),
]
UNPRINTABLE = ["\x07", "\x7f", "\x85", "\u2028", "\ufeff", "a\nb"]

# What can stand in the header of a table or on a command line.
printable_names = st.sampled_from(ODD_NAMES) | st.text(
    st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1, max_size=12
)
names = (
    printable_names
    | st.sampled_from(UNPRINTABLE)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
)

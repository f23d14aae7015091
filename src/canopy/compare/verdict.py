"""The answer of a comparison in one sentence."""

from canopy.compare.significance import Interval, Significance
from canopy.text_tables import decimals_for_error, signed

LEVEL = 0.05


def verdict(found: Significance, *, split: str) -> str:
    """Say whether one of two models, A and B, is better on the same rows.

    Args:
        found: Their differences.
        split: What the rows are called.

    Returns:
        A sentence; what it says about one being better is positive where that one is.
    """
    if found.n_same == found.n_rows:
        return (
            f"A and B are not distinguishable: they predict the same class for each of the {found.n_rows:,} "
            f"{split} rows"
        )
    accuracy, macro_f1 = found.accuracy, found.macro_f1
    # Both have to agree, so that the approximation of neither decides alone.
    if accuracy.excludes_zero and found.mcnemar_p < LEVEL:
        better, worse = ("B", "A") if accuracy.difference > 0 else ("A", "B")
        if better == "A":
            accuracy, macro_f1 = accuracy.negated(), macro_f1.negated()
        answer = f"{better} is better than {worse}"
        if macro_f1.high < 0:
            answer = f"{better} is better in accuracy and {worse} in macro-F1"
    elif macro_f1.excludes_zero:
        better = "B" if macro_f1.low > 0 else "A"
        if better == "A":
            accuracy, macro_f1 = accuracy.negated(), macro_f1.negated()
        answer = f"A and B are not distinguishable in accuracy, {better} is better in macro-F1"
    else:
        answer = "A and B are not distinguishable"
    return (
        f"{answer}: accuracy {describe(accuracy, test=f', McNemar {format_p(found.mcnemar_p)}')}; "
        f"macro-F1 {describe(macro_f1)}"
    )


def describe(interval: Interval, *, test: str = "") -> str:
    """Write a difference and its interval.

    Examples:
        >>> describe(Interval(difference=0.0031, low=0.002, high=0.0042))
        '+0.0031 (95 % interval +0.0020 to +0.0042)'
    """
    n = decimals_for_error(1.0, (interval.high - interval.low) / 2)
    difference, low, high = (
        signed(value, n_decimals=n) for value in (interval.difference, interval.low, interval.high)
    )
    return f"{difference} (95 % interval {low} to {high}{test})"


def format_p(p: float) -> str:
    """Write a p-value.

    Examples:
        >>> format_p(0.0312), format_p(1.04e-7), format_p(0.0)
        ('p = 0.031', 'p = 1e-07', 'p < 1e-300')
    """
    if p < 1e-300:
        return "p < 1e-300"
    return f"p = {p:.2g}" if p >= 1e-4 else f"p = {p:.0e}"

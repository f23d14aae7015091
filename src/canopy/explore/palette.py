"""Colours of the classes: the same for a class in every picture."""

# Okabe and Ito's colours that can be told apart with any colour vision, in the order of the classes; a
# wine red takes the place of their yellow, which does not show on white.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#992255")
# In degrees: turned by it again and again, hues fill the circle evenly (360 degrees by the golden section).
GOLDEN_ANGLE = 137.508


def class_colors(n_classes: int) -> list[str]:
    """Choose a CSS colour for each class.

    Args:
        n_classes: Number of classes.

    Returns:
        Distinct colours, those of Okabe and Ito first.

    Examples:
        >>> class_colors(2)
        ['#0072B2', '#E69F00']
    """
    more = range(n_classes - len(OKABE_ITO))
    return [
        *OKABE_ITO[:n_classes],
        *(f"oklch(66% 0.14 {i * GOLDEN_ANGLE % 360:.0f}deg)" for i in more),
    ]

"""What the pages share: the style of their templates (`page.css.jinja`), macros, filters and colours."""

import jinja2

from canopy.explore.wording import breakable, fixed, listing, number, percent

# Okabe and Ito's colours that can be distinguished with any colour vision, in the order of the classes; a
# wine red takes the place of their yellow, which does not show on white.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#992255")
# In degrees: turned by it again and again, hues fill the circle evenly (360 degrees by the golden section).
GOLDEN_ANGLE = 137.508


def class_colors(n_classes: int) -> list[str]:
    """Choose distinct CSS colours, those of Okabe and Ito first."""
    hues = [place * GOLDEN_ANGLE % 360 for place in range(n_classes - len(OKABE_ITO))]
    return [*OKABE_ITO[:n_classes], *(f"oklch(66% 0.14 {hue:.0f}deg)" for hue in hues)]


def page_environment(*packages: str) -> jinja2.Environment:
    """Load templates from packages, and those that pages share from `canopy.explore`; texts are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(p, ".") for p in (*packages, "canopy.explore")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (number, fixed, percent, listing, breakable)
    environment.filters.update({function.__name__: function for function in filters})
    return environment

"""Render the findings as one HTML page that needs nothing else."""

from typing import Any

import jinja2

from canopy.explore.columns import RARE
from canopy.explore.information import LITTLE_INFORMATION
from canopy.explore.plots import class_densities, draw_ridgelines
from canopy.explore.profile import Profile
from canopy.explore.suggestions import find_highlights
from canopy.explore.wording import breakable, fixed, listing, number, percent

# Most classes, columns with a plot, and single categories that are shown.
N_CLASSES, N_PLOTS, N_CATEGORIES = 30, 60, 60
# Okabe and Ito's colours that can be distinguished with any colour vision, in the order of the classes; a
# wine red takes the place of their yellow, which does not show on white.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#992255")
# In degrees: turned by it again and again, hues fill the circle evenly (360 degrees by the golden section).
GOLDEN_ANGLE = 137.508


def class_colors(n_classes: int) -> list[str]:
    """Choose distinct CSS colours, those of Okabe and Ito first."""
    hues = [place * GOLDEN_ANGLE % 360 for place in range(n_classes - len(OKABE_ITO))]
    return [*OKABE_ITO[:n_classes], *(f"oklch(66% 0.14 {hue:.0f}deg)" for hue in hues)]


def render_page(findings: dict[str, Any], profile: Profile) -> str:
    """Write the page, HTML with all styles and plots in it."""
    classes, columns = findings["target"]["classes"], findings["columns"]
    largest = sorted(classes, key=lambda name: -classes[name]["n_rows"])[:N_CLASSES]
    shown = {name: found for name, found in classes.items() if name in largest}
    places = [place for place, name in enumerate(classes) if name in shown]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("canopy.explore", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (number, fixed, percent, listing, breakable)
    environment.filters.update({function.__name__: function for function in filters})
    categories = [
        {"column": column, "value": value, "is_one_hot": described["is_one_hot"], **category}
        for column, described in findings["categories"].items()
        for value, category in described["categories"].items()
    ]
    numeric = {name: column for name, column in columns.items() if "median" in column}
    ranking = [name for name in findings["mutual_information"]["columns_nat"] if name in numeric]
    ridgelines = {}
    for name in (*ranking[:N_PLOTS], *findings["datetimes"]):
        edges, densities, medians = class_densities(profile.numbers(name), profile.codes, len(classes))
        is_time = name in findings["datetimes"]
        ridgelines[name] = draw_ridgelines(edges, densities[places], medians[places], is_time=is_time)
    return environment.get_template("page.html.jinja").render(
        **findings,
        classes=shown,
        numeric=numeric,
        colors=dict(zip(shown, class_colors(len(shown)), strict=True)),
        highlights=find_highlights(findings),
        limits={"little_information": LITTLE_INFORMATION, "rare": RARE},
        meanings={name: column["meaning"] for name, column in columns.items()}
        | {item["value"]: item["name"] for item in categories if item["is_one_hot"]},
        anchors={name: f"column-{place}" for place, name in enumerate(columns)},
        analysed={name: column for name, column in columns.items() if "n_missing" in column},
        ridgelines=ridgelines,
        single_categories=sorted(categories, key=lambda item: -item["information_nat"])[:N_CATEGORIES],
    )

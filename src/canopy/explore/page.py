"""Render the findings as one HTML page that needs nothing else."""

from dataclasses import replace
from typing import Any

import jinja2

from canopy.explore.classes import RARE
from canopy.explore.densities import ClassDensities
from canopy.explore.highlights import find_highlights
from canopy.explore.information import LITTLE_INFORMATION
from canopy.explore.palette import class_colors
from canopy.explore.ridgelines import draw_ridgelines
from canopy.explore.timeline import draw_timeline
from canopy.explore.wording import breakable, fixed, listing, number, percent, spaced

# Most classes, columns with a plot, and categories by themselves that are shown.
N_CLASSES = 30
N_PLOTS = 60
N_CATEGORIES = 60


def render_page(findings: dict[str, Any], densities: dict[str, ClassDensities]) -> str:
    """Write the page.

    Args:
        findings: What `compute_findings` returns.
        densities: Numeric column to its distribution in each class.

    Returns:
        HTML with all styles and plots in it.
    """
    classes = findings["target"]["classes"]
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
    environment.filters.update(
        number=number,
        fixed=fixed,
        percent=percent,
        listing=listing,
        spaced=spaced,
        breakable=breakable,
    )
    categories = [
        {"column": column, "value": value, "is_one_hot": described["is_one_hot"], **category}
        for column, described in findings["categories"].items()
        for value, category in described["categories"].items()
    ]
    columns, information = findings["columns"], findings["mutual_information"]["columns_nat"]
    return environment.get_template("page.html.jinja").render(
        **findings,
        classes=shown,
        colors=dict(zip(shown, class_colors(len(shown)), strict=True)) | {"": "var(--muted)"},
        highlights=find_highlights(findings),
        limits={"little_information": LITTLE_INFORMATION, "rare": RARE},
        meanings={name: column["meaning"] for name, column in columns.items()}
        | {item["value"]: item["name"] for item in categories if item["is_one_hot"]},
        anchors={name: f"column-{place}" for place, name in enumerate(columns)},
        analysed={name: column for name, column in columns.items() if "n_missing" in column},
        ranking=[
            {"name": name, "kind": columns[name]["kind"], "nat": nat} for name, nat in information.items()
        ],
        ridgelines={
            name: draw_ridgelines(
                replace(found, densities=found.densities[places], medians=found.medians[places])
            )
            for name, found in densities.items()
        },
        timelines={
            name: draw_timeline(found["over_time"], [*shown]) for name, found in findings["datetimes"].items()
        },
        single_categories=sorted(categories, key=lambda item: -item["information_nat"])[:N_CATEGORIES],
    )

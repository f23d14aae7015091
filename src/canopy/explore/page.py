"""Render the findings as one HTML page that needs nothing else."""

from typing import Any

import jinja2

from canopy.explore.densities import ClassDensities
from canopy.explore.highlights import find_highlights
from canopy.explore.palette import class_colors
from canopy.explore.ridgelines import draw_ridgelines
from canopy.explore.suggestions import LITTLE_INFORMATION
from canopy.explore.wording import breakable, fixed, listing, number, percent, spaced


def render_page(findings: dict[str, Any], densities: dict[str, ClassDensities]) -> str:
    """Write the page.

    Args:
        findings: What `compute_findings` gives.
        densities: Numeric column to its distribution in each class.

    Returns:
        HTML with all styles and pictures in it.
    """
    classes = findings["target"]["classes"]
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
    return environment.get_template("page.html.jinja").render(
        **findings,
        colors=dict(zip(classes, class_colors(len(classes)), strict=True)),
        highlights=find_highlights(findings),
        little_information=LITTLE_INFORMATION,
        ranking=_rank_features(findings),
        ridgelines={name: draw_ridgelines(density) for name, density in densities.items()},
    )


def _rank_features(findings: dict[str, Any]) -> list[dict[str, Any]]:
    """List numeric columns and whole groups, the most informative first."""
    information = findings["mutual_information"]
    features = [
        {"name": name, "kind": kind, "nat": of_kind[name]}
        for kind, names, of_kind in (
            ("numeric", findings["numeric"], information["columns_nat"]),
            ("one-hot group", findings["groups"], information["groups_nat"]),
        )
        for name in names
    ]
    return sorted(features, key=lambda feature: -feature["nat"])

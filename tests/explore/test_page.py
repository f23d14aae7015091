import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig

from canopy.explore.findings import Limits, compute_findings
from canopy.explore.highlights import find_highlights
from canopy.explore.page import N_CLASSES, class_colors, render_page
from canopy.explore.plots import class_densities
from canopy.explore.profile import Profile
from canopy.schema import TableSchema

Trips = tuple[pd.DataFrame, TableSchema]

# They have no end tag.
VOID = {"meta", "link", "wbr"}


class Outline(HTMLParser):
    """Collects a page's texts, anchors and links, and checks that its tags are nested well."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        found = dict(attrs)
        self.ids += [str(found["id"])] if "id" in found else []
        self.links += [str(found[name]) for name in ("href", "src") if name in found]
        if tag == "svg":
            assert found["role"] == "img"
            assert found["aria-label"]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ("path", "line")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page_of(profile_of: Callable[..., Profile], explore_params: DictConfig) -> Callable[..., str]:
    """Render the page of a frame: `page_of(frame, schema)`."""

    def call(frame: pd.DataFrame, schema: TableSchema | None = None) -> str:
        profile = profile_of(frame, schema)
        findings = compute_findings(profile, Limits(**explore_params.explore), seed=0)
        densities = {
            name: class_densities(profile.sample[name], profile.codes, len(profile.classes))
            for name in findings["numeric"]
        }
        return render_page(findings, densities)

    return call


def of_kinds(trips: Trips, *kinds: str) -> TableSchema:
    schema = trips[1]
    columns = {name: column for name, column in schema.columns.items() if column.kind in kinds}
    return schema.model_copy(update={"columns": columns})


def test_the_page_is_well_formed_and_loads_nothing(
    frame: pd.DataFrame, trips: Trips, page_of: Callable[..., str]
):
    for page in (page_of(frame), page_of(*trips)):
        outline = Outline(page)
        assert outline.open == []
        assert len(set(outline.ids)) == len(outline.ids)
        assert not re.search(r"https?://|//[a-z]|@import|url\(|<script", page)
        for link in outline.links:
            assert link == "data:," or link.removeprefix("#") in outline.ids


def test_the_page_shows_what_was_found(
    frame: pd.DataFrame, page_of: Callable[..., str], findings_of: Callable[..., Any]
):
    findings = findings_of(frame)
    text = " ".join(Outline(page_of(frame)).text.split())
    for highlight in find_highlights(findings):
        assert highlight.headline in text
        assert highlight.text in text
    for item in findings["suggestions"]:
        assert item["column"] in text
        assert item["reason"] in text
    for name, column in findings["columns"].items():
        assert name in text
        assert column["meaning"] in text
    for figure in ("5 : 1", "70 duplicate rows", "0 missing values in 100 rows", "weight and size", "1.000"):
        assert figure in text


def test_the_page_shows_all_kinds_of_columns(trips: Trips, page_of: Callable[..., str]):
    text = " ".join(Outline(page_of(*trips)).text.split())
    for part in ("3 categories", "Rows per day, at most", "By hour", "By month", "not analysed"):
        assert part in text


def test_a_class_has_its_colour_everywhere(frame: pd.DataFrame, page_of: Callable[..., str]):
    page = page_of(frame)
    for color in class_colors(3):
        # A bar and its label, a ridge in two plots, a column of the heat map.
        assert page.count(f"--color: {color}") == 5


def test_of_many_classes_the_largest_are_shown(trips: Trips, page_of: Callable[..., str]):
    frame, schema = trips
    frame["label"] = [
        f"class {index % (N_CLASSES + 10) if index < 350 else index % 5}" for index in range(400)
    ]
    page = page_of(frame, schema)
    assert f"has {N_CLASSES + 10} classes, of which the largest are shown" in " ".join(
        Outline(page).text.split()
    )
    assert "<title>other classes</title>" in page


def test_texts_of_the_table_are_no_markup(trips: Trips, page_of: Callable[..., str]):
    frame, schema = trips
    frame["city"] = frame["city"].replace("Bern", "<b>Bern</b> & more")
    page = page_of(frame, schema.model_copy(update={"title": "<b>Trips</b>"}))
    assert "&lt;b&gt;Bern&lt;/b&gt; &amp; more" in page
    assert "&lt;b&gt;Trips&lt;/b&gt;" in page
    assert "<b>Bern" not in page


@pytest.mark.parametrize("kind", ["numeric", "categorical", "datetime"])
def test_a_table_may_have_one_kind_of_column(kind: str, trips: Trips, page_of: Callable[..., str]):
    outline = Outline(page_of(trips[0], of_kinds(trips, kind)))
    assert outline.open == []
    assert ("distributions" in outline.ids) == (kind == "numeric")
    assert ("categories" in outline.ids) == (kind == "categorical")
    assert ("dates" in outline.ids) == (kind == "datetime")


def test_faults_stand_out(frame: pd.DataFrame, findings_of: Callable[..., Any]):
    frame = frame.astype({"weight": float, "size": float})
    frame.loc[0, "weight"] = np.nan
    assert find_highlights(findings_of(frame.drop_duplicates()))[1].headline == "Some values are missing"
    frame.loc[1, "size"] = np.inf
    fault = find_highlights(findings_of(frame))[1]
    assert fault.headline == "The table has faults"
    assert fault.text.startswith(
        "Values that no column may have: 1, in size. Missing values: 1, in weight. Rows "
    )


def test_balanced_classes_call_for_no_warning(frame: pd.DataFrame, findings_of: Callable[..., Any]):
    balance = find_highlights(findings_of(frame[frame.kind != 3]))[0]
    assert balance.headline == "The classes are about equally large"
    assert balance.text == "Apple has 55.6% of the rows, Pear 44.4%. No row is of class Plum."


def test_colours_are_distinct_for_any_number_of_classes():
    colors = class_colors(40)
    assert len(set(colors)) == len(colors) == 40
    assert class_colors(7) == colors[:7]

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from canopy.explore.classes import class_codes
from canopy.explore.densities import class_densities
from canopy.explore.exploration import Exploration
from canopy.explore.findings import compute_findings
from canopy.explore.highlights import find_highlights
from canopy.explore.page import render_page
from canopy.explore.palette import class_colors

# They have no end tag.
VOID = {"meta", "link", "wbr", "path", "line"}


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
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(frame: pd.DataFrame, exploration: Exploration) -> str:
    spec = exploration.spec
    codes = class_codes(frame[spec.target], spec)
    densities = {
        column.name: class_densities(frame[column.name].to_numpy(dtype=float), codes, len(spec.classes))
        for column in spec.numeric
    }
    return render_page(compute_findings(frame, exploration), densities)


def test_the_page_is_well_formed_and_loads_nothing(frame: pd.DataFrame, exploration: Exploration):
    page = page_of(frame, exploration)
    outline = Outline(page)
    assert outline.open == []
    assert len(set(outline.ids)) == len(outline.ids)
    assert not re.search(r"https?://|//[a-z]|@import|url\(|<script", page)
    for link in outline.links:
        assert link == "data:," or link.removeprefix("#") in outline.ids


def test_the_page_shows_what_was_found(frame: pd.DataFrame, exploration: Exploration):
    findings = compute_findings(frame, exploration)
    text = " ".join(Outline(page_of(frame, exploration)).text.split())
    for highlight in find_highlights(findings):
        assert highlight.headline in text
        assert highlight.text in text
    for drop in findings["suggested_drops"]:
        assert f"{drop['column']}" in text
        assert drop["reason"] in text
    for name, column in findings["columns"].items():
        assert name in text
        assert column.get("meaning", findings["target"]["meaning"]) in text
    for figure in ("5 : 1", "70 duplicate rows", "0 missing values in 100 rows", "weight and size", "1.000"):
        assert figure in text


def test_a_class_has_its_colour_everywhere(frame: pd.DataFrame, exploration: Exploration):
    page = page_of(frame, exploration)
    for color in class_colors(3):
        # A bar and its label, a ridge in two pictures, a column of the heat map.
        assert page.count(f"--color: {color}") == 5


def test_texts_of_the_parameters_are_no_markup(frame: pd.DataFrame, exploration: Exploration):
    page = page_of(frame, replace(exploration, title="<b>Fruit</b> & more"))
    assert "&lt;b&gt;Fruit&lt;/b&gt; &amp; more" in page
    assert "<b>Fruit" not in page


@pytest.mark.parametrize("kind", ["numeric", "groups"])
def test_a_table_may_lack_a_kind_of_column(frame: pd.DataFrame, exploration: Exploration, kind: str):
    spec = replace(exploration.spec, **{kind: ()})
    outline = Outline(page_of(frame[spec.columns], replace(exploration, spec=spec)))
    assert outline.open == []
    assert "Fruit" in outline.text


def test_faults_stand_out(frame: pd.DataFrame, exploration: Exploration):
    frame = frame.astype({"weight": float})
    frame.loc[0, "weight"] = np.nan
    frame.loc[1:2, "colour1"] = 0
    text = find_highlights(compute_findings(frame, exploration))[1].text
    assert text.startswith("Missing values: 1, in weight. Rows that repeat an earlier one: ")
    assert text.endswith("Rows that do not set exactly one column of colour: 2.")


def test_balanced_classes_call_for_no_warning(frame: pd.DataFrame, exploration: Exploration):
    balance = find_highlights(compute_findings(frame[frame.kind != 3], exploration))[0]
    assert balance.headline == "The classes are about equally large"
    assert balance.text == "Apple has 55.6% of the rows, Pear 44.4%. No row at all is of class Plum."

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig

from canopy.explore import explore
from canopy.explore.page import N_CLASSES, class_colors, class_densities, draw_ridgelines, render_page
from canopy.explore.profile import Profile
from canopy.files import read_json
from canopy.schema import TableSchema

Table = tuple[pd.DataFrame, TableSchema]
PageOf = Callable[..., str]
FindingsOf = Callable[..., dict[str, Any]]


def parse(page: str) -> Element:
    """Parse a page as XML, from which HTML differs in tags without an end and attributes without a value."""
    closed = re.sub("<(meta|link|wbr)([^>]*)>", r"<\1\2/>", page)
    return fromstring(closed.replace(" open>", ">"))  # noqa: S314


@pytest.fixture
def page_of(profile_of: Callable[..., Profile], findings_of: FindingsOf) -> PageOf:
    """Render the page of a frame: `page_of(frame, schema)`."""
    return lambda *table: render_page(findings_of(*table), profile_of(*table))


def text_of(page: str) -> str:
    return " ".join("".join(parse(page).itertext()).split())


def test_page_is_well_formed_and_loads_nothing(frame: pd.DataFrame, trips: Table, page_of: PageOf):
    for page in (page_of(frame), page_of(*trips), page_of(trips[0].assign(city=None), trips[1])):
        elements = [*parse(page).iter()]
        ids = [element.get("id") for element in elements if "id" in element.attrib]
        assert len(set(ids)) == len(ids)
        assert not re.search(r"https?://|//[a-z]|@import|url\(|<script", page)
        for element in elements:
            link = element.get("href") or element.get("src")
            assert link in (None, "data:,") or link.removeprefix("#") in ids
            assert element.tag != "svg" or (element.get("role") == "img" and element.get("aria-label"))


def test_page_shows_the_findings(frame: pd.DataFrame, trips: Table, page_of: PageOf, findings_of: FindingsOf):
    findings = findings_of(frame)
    expected = ["5 : 1", "70 duplicate rows", "0 missing values in 100 rows", "weight and size", "1.000"]
    expected += [item[key] for item in findings["suggestions"] for key in ("column", "reason")]
    expected += [part for name, column in findings["columns"].items() for part in (name, column["meaning"])]
    text, page = text_of(page_of(frame)), page_of(frame)
    assert [part for part in expected if part not in text] == []
    for color in class_colors(3):
        # A bar and its label, a ridge in two plots, a column of the heat map.
        assert page.count(f"--color: {color}") == 5
    text = text_of(page_of(*trips))
    for part in ("3 categories", "2024-01-1", "By hour", "By month", "not analysed"):
        assert part in text


def test_page_shows_the_largest_of_many_classes(trips: Table, page_of: PageOf):
    frame, schema = trips
    labels = [index % (N_CLASSES + 10) if index < 350 else index % 5 for index in range(400)]
    page = page_of(frame.assign(label=[f"class {label}" for label in labels]), schema)
    assert f"has {N_CLASSES + 10} classes, of which the largest are shown" in text_of(page)
    assert len({*class_colors(N_CLASSES)}) == N_CLASSES


def test_texts_of_the_table_are_escaped(trips: Table, page_of: PageOf):
    frame, schema = trips
    frame["city"] = frame["city"].replace("Bern", "<b>Bern</b> & more")
    page = page_of(frame, schema.model_copy(update={"title": "<b>Trips</b>"}))
    assert "&lt;b&gt;Bern&lt;/b&gt; &amp; more" in page
    assert "&lt;b&gt;Trips&lt;/b&gt;" in page
    assert "<b>Bern" not in page


@pytest.mark.parametrize(
    ("kind", "section"), [("numeric", "distributions"), ("categorical", "categories"), ("datetime", "dates")]
)
def test_table_may_have_one_kind_of_column(kind: str, section: str, trips: Table, page_of: PageOf):
    frame, schema = trips
    columns = {name: column for name, column in schema.columns.items() if column.kind == kind}
    page = parse(page_of(frame, schema.model_copy(update={"columns": columns})))
    ids = {element.get("id") for element in page.iter()}
    assert {"distributions", "categories", "dates"} & ids == {section}


def test_explore_writes_findings_and_page(params: DictConfig, sample_csv: str, tmp_path: Path):
    """Of the sample of the real table, and the same files each time."""
    params = params.copy()
    params.paths.raw, params.paths.reports = str(tmp_path / "raw.csv"), str(tmp_path)
    Path(params.paths.raw).write_text(sample_csv)
    folder, written = tmp_path / "exploration", []
    for _ in range(2):
        explore.run(params)
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert written[0] == written[1]
    assert written[0].keys() == {"findings.json", "index.html"}
    findings = read_json(folder / "findings.json")
    assert (len(findings["columns"]), findings["table"]["n_rows"], findings["problems"]) == (13, 4008, [])
    assert next(iter(findings["mutual_information"]["columns_nat"])) == "Elevation"


@pytest.mark.parametrize("values", [1e15 + np.array([0.25, 0.5]), np.full(5, 7.0), np.full(5, 0.3)])
def test_values_that_hardly_differ_can_be_drawn(values: np.ndarray):
    edges, densities, medians = class_densities(values, np.zeros(len(values), dtype=np.int64), 1)
    assert np.isfinite(edges).all()
    assert densities.sum() > 0
    plot = draw_ridgelines(edges, densities, medians)
    assert plot["left"] <= plot["ridges"][0]["median"] <= plot["right"]


def test_densities_add_up_to_1_and_bins_hold_integers():
    edges, densities, medians = class_densities(np.tile(np.arange(40.0), 20), np.zeros(800, np.int64), 2)
    np.testing.assert_allclose(edges, np.arange(41) - 0.5)
    # Equally frequent numbers leave no comb.
    np.testing.assert_allclose(densities, [[1 / 40] * 40, [0] * 40])
    np.testing.assert_equal(medians, [19.5, np.nan])


def test_ridges_stay_in_the_plot_and_an_empty_class_has_none():
    values = np.concatenate([np.linspace(0, 1, 100), np.full(100, 0.5)])
    plot = draw_ridgelines(*class_densities(values, np.repeat([0, 1], 100), 3))
    assert [bool(ridge["path"]) for ridge in plot["ridges"]] == [True, True, False]
    ridge = plot["ridges"][1]
    points = ridge["path"].strip("MZ").replace("L", "").split()
    xs, ys = np.array([point.split(",") for point in points], dtype=float).T
    assert (xs.min(), xs.max()) == (plot["left"], plot["right"])
    assert ys.min() >= 0
    assert ys.max() == ridge["baseline"]
    assert [text for _, text in plot["ticks"]] == ["0.2", "0.4", "0.6", "0.8"]

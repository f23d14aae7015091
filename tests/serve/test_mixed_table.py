"""A server for a table with texts, times, missing values and keys, in its own dialect."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig
from playwright.sync_api import expect

from canopy.export.scorer import Scorer
from canopy.serve.drift import MAX_CATEGORIES

NAMES = [f"shop {index}" for index in range(70)]
ROW: dict[str, Any] = {"size": 12.5, "colour": "colour1", "shop": "shop 3", "ripe": "yes"}
ROW |= {"picked": "2023-06-01T08:00", "sold": "03.06.2023"}
HEADER = "id;size;colour1;colour2;colour3;shop;ripe;picked;sold;kind"


@pytest.fixture
def small_params(small_params: DictConfig) -> DictConfig:
    columns = small_params.table.columns
    small_params.table.file = {"delimiter": ";", "decimal": ","}
    del columns["weight"]
    columns["size"] |= {"missing": "median", "range": [0, 100], "out_of_range": "clip"}
    columns.id = {"kind": "key"}
    columns.shop = {"kind": "categorical", "meaning": 'Shop <b> "name"'}
    columns.ripe = {"kind": "categorical", "missing": "category", "unseen": "reject"}
    columns.picked = {"kind": "datetime", "missing": "median"}
    columns.sold = {"kind": "datetime", "format": "%d.%m.%Y"}
    return small_params


@pytest.fixture
def raw_table(small_params: DictConfig) -> Path:
    random, lines = np.random.default_rng(0), [HEADER]
    path = Path(small_params.paths.raw)
    for index in range(600):
        kind = index % 3
        size = "" if index % 10 == 9 else f"{random.normal(10 + 5 * kind, 2):.2f}".replace(".", ",")
        colours = np.eye(3, dtype=int)[random.integers(3)]
        ripe = ("yes", "no", "")[random.choice(3, p=[0.5, 0.4, 0.1])]
        picked = np.datetime64("2023-01-01T00:00") + random.integers(500_000)
        sold = (picked.astype("datetime64[D]") + kind).astype(object)
        values = [f"i{index}", size, *colours, NAMES[index % 70], ripe, picked, f"{sold:%d.%m.%Y}", kind + 1]
        lines.append(";".join(map(str, values)))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.slow
def test_json_and_csv_give_the_same(server: Any) -> None:
    rows = [ROW, {**ROW, "size": None, "picked": None, "ripe": None}, {**ROW, "size": 1e6, "shop": "new"}]
    answer = server.post("/predict", {"rows": rows})
    assert answer.status_code == 200, answer.text
    found = [[*row["probabilities"].values()] for row in answer.json()["predictions"]]
    lines = [
        "a;12,5;1;0;0;shop 3;yes;2023-06-01 08:00;03.06.2023;9",
        "b;;1;0;0;shop 3;;;03.06.2023;",
        "c;100,0;1;0;0;never seen;yes;2023-06-01T10:00:00+02:00;03.06.2023;1",
    ]
    table = server.post("/predict/csv", "\n".join([HEADER, *lines]))
    assert table.status_code == 200, table.text
    read = [*csv.DictReader(io.StringIO(table.text))]
    assert [line["id"] for line in read] == ["a", "b", "c"]
    shares = [[float(line[f"probability_{name}"]) for name in ("Apple", "Pear", "Plum")] for line in read]
    np.testing.assert_allclose(shares, found, atol=1e-6)
    assert table.headers["x-labelled-rows"] == "1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ripe": "perhaps"}, "ripe must be one of 'no', 'yes'; got 'perhaps'"),
        ({"ripe": "no", "picked": "soon"}, "picked must be a date or time by ISO 8601; got 'soon'"),
        ({"sold": "2023-13-01"}, "sold must be a time in the format %d.%m.%Y; got '2023-13-01'"),
        ({"sold": "0001-01-01T00:00+05:00"}, "sold must be a time in the format %d.%m.%Y; got '0001-01"),
        ({"sold": None}, "sold must have a value in every row; got none"),
        ({"shop": "NA"}, "shop must have a value in every row; got none"),
        ({"picked": [2023]}, "picked must be a text or a number; got [2023]"),
    ],
)
def test_values_that_no_policy_allows_are_named(server: Any, change: dict[str, Any], message: str) -> None:
    answer = server.post("/predict", {"rows": [{**ROW, **change}]})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(f"row 0: {message}")


@pytest.mark.slow
def test_the_document_holds_what_it_says(
    server: Any, bundle: Path, schemathesis: Callable[[str], str]
) -> None:
    document = server.get("/openapi.json").json()
    assert document["x-table"] == Scorer(bundle).manifest.table.model_dump(mode="json", exclude_none=True)
    body = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    row = body["schema"]["properties"]["rows"]["items"]
    assert row["required"] == ["colour", "shop", "sold"]
    assert row["properties"]["ripe"]["anyOf"] == [{"enum": ["no", "yes", False, True]}, {"type": "null"}]
    assert row["properties"]["sold"]["description"] == "ISO 8601 or %d.%m.%Y"
    assert row["properties"]["size"]["description"] == "Diameter, cm, missing: median, out_of_range: clip"
    schemathesis(server.url)


def test_all_kinds_of_columns_are_explained_and_watched(server: Any) -> None:
    answer = server.post("/explain", {"rows": [ROW]}).json()
    assert answer["probabilities"][answer["class"]] == max(answer["probabilities"].values())
    assert {item["feature"] for item in answer["contributions"]} == {*ROW}
    sizes = [abs(item["contribution"]) for item in answer["contributions"]]
    assert sizes == sorted(sizes, reverse=True)
    assert np.isfinite(sizes).all()
    assert server.post("/predict", {"rows": [{**ROW, "size": None, "shop": "a new one"}] * 40}).ok
    columns = {column["name"]: column for column in server.get("/drift").json()["columns"]}
    assert {"size", "colour", "shop", "ripe", "picked.time", "sold.time", "kind"} <= {*columns}
    assert columns["size"]["bins"][-1] == "missing"
    assert columns["size"]["expected"][-1] == pytest.approx(0.1, abs=0.02)
    assert len(columns["shop"]["bins"]) == MAX_CATEGORIES + 2
    assert columns["shop"]["bins"][-2:] == ["all others", "unseen"]
    assert columns["picked.time"]["bins"][0].startswith("lowest to 2023-")
    shares = [column[kind] for column in columns.values() for kind in ("expected", "found")]
    assert [*map(sum, shares)] == pytest.approx([1] * len(shares))


def test_the_form_has_a_control_for_each_kind(server: Any, visit: Any) -> None:
    page = visit(server.url)
    expect(page.locator("#verdict")).not_to_be_empty()
    kinds = page.locator("#row [name]").evaluate_all("all => all.map(e => [e.name, e.type])")
    assert kinds == [
        *(["size", "number"], ["colour", "select-one"], ["shop", "text"], ["ripe", "select-one"]),
        *(["picked", "datetime-local"], ["sold", "date"]),
    ]
    page.get_by_label("Diameter, cm (optional)", exact=True).fill("")
    page.get_by_label('Shop <b> "name"').fill("shop 3")
    page.locator("[name=ripe]").select_option("missing")
    page.locator("[name=picked]").fill("2023-06-01T08:00")
    page.locator("[name=sold]").fill("2023-06-03")
    row = {**ROW, "size": None, "ripe": None, "colour": page.locator("[name=colour]").input_value()}
    (found,) = server.post("/predict", {"rows": [row]}).json()["predictions"]
    share = 100 * max(found["probabilities"].values())
    expect(page.locator("#verdict")).to_have_text(f"{found['class']}, {share:.1f} %")
    page.locator("[name=sold]").fill("")
    expect(page.get_by_role("alert")).to_have_text("sold must have a value in every row; got none")


def test_a_file_is_predicted_but_for_its_invalid_rows(server: Any, visit: Any, tmp_path: Path) -> None:
    page, path = visit(server.url), tmp_path / "rows.csv"
    path.write_text(HEADER.replace("sold;", "") + "\n1;2\n")
    page.locator("#file").set_input_files(path)
    expect(page.locator("#batch-state")).to_have_text("rows.csv cannot be predicted:")
    missing = "sold must be given in the header, or all of its 0/1 columns; got no such column"
    expect(page.locator("#batch-problems li")).to_have_text([missing])
    expect(page.locator("#download")).to_be_hidden()
    good = '"a ""1"",\n2";12,5;1;0;0;shop 3;yes;2023-06-01 08:00;03.06.2023;1;x'
    bad = "b;heavy;1;1;0;shop 3;yes;2023-06-01 08:00;03.06.2023;1;x"
    # As a spreadsheet of another time writes it.
    path.write_bytes("\r\n".join([f"{HEADER};höhe", *([good] * 24), *([bad] * 23)]).encode("cp1252"))
    page.locator("#file").set_input_files(path)
    message = "24 of 47 rows of rows.csv; the others have invalid values:"
    expect(page.locator("#batch-state")).to_have_text(message)
    problems = page.locator("#batch-problems li")
    expect(problems).to_have_count(21)
    expect(problems.first).to_have_text("row 25 below the header: size must be a number; got 'heavy'")
    expect(problems.last).to_have_text("and 3 more")
    note = "labelled rows are predicted correctly. Columns that the table does not have are ignored: höhe."
    expect(page.locator("#batch-note")).to_contain_text(f"of 24 {note}")
    with page.expect_download() as download:
        page.get_by_text("Download the predictions").click()
    kept = [*csv.DictReader(io.StringIO(Path(download.value.path()).read_text(), newline=""))]
    assert (len(kept), kept[0]["id"]) == (47, 'a "1",\n2')

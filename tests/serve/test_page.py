"""The web UI, in a real browser, and the OpenAPI document."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

ROW = {"weight": 120.5, "size": 9, "colour": "colour2"}
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


def note_of(page: Page, name: str) -> Locator:
    """Find where the web UI says what is wrong with a field."""
    return page.locator(".field").filter(has=page.locator(f'[name="{name}"]')).locator(".note")


def test_a_row_is_predicted_as_it_is_changed(server: Any, visit: Any) -> None:
    page = visit(server.url)
    expect(page.locator("#probabilities li")).to_have_count(3)
    shares = page.locator("#probabilities .value").all_inner_texts()
    assert sum(float(share.removesuffix(" %")) for share in shares) == pytest.approx(100, abs=0.2)
    found = set()
    for weight in (60, 200, 320):
        page.get_by_label("Weight, g", exact=True).fill(str(weight))
        size = float(page.locator("[name=size]").input_value())
        row = {"weight": weight, "size": size, "colour": page.locator("[name=colour]").input_value()}
        (reported,) = server.post("/predict", {"rows": [row]}).json()["predictions"]
        share = 100 * max(reported["probabilities"].values())
        expect(page.locator("#verdict")).to_have_text(f"{reported['class']}, {share:.1f} %")
        expect(page.locator("#probabilities li.best .name")).to_have_text(reported["class"])
        found.add(page.locator("#verdict").inner_text())
    assert len(found) > 1
    # Each of the features has had its part.
    expect(page.locator("#contributions li")).to_have_count(3)


def test_each_value_that_is_wrong_is_told_at_its_field(server: Any, visit: Any) -> None:
    page = visit(server.url)
    expect(page.locator("#verdict")).not_to_be_empty()
    page.locator("[name=size]").fill("1000000")
    page.locator("[name=weight]").fill("")
    expect(note_of(page, "size")).to_contain_text("must be from 0 to 100 cm; got 1000000")
    expect(note_of(page, "weight")).to_have_text("must have a value in every row; got none")
    message = "weight must have a value in every row; got none. size must be from"
    expect(page.get_by_role("alert")).to_contain_text(message)
    expect(page.locator("[aria-invalid=true]")).to_have_count(2)
    # Nothing is left of the row before.
    expect(page.locator("#verdict")).to_be_empty()
    expect(page.locator("#probabilities li")).to_have_count(0)
    page.locator("[name=size]").fill("9")
    page.locator("[name=weight]").fill("120.5")
    expect(page.get_by_role("alert")).to_be_empty()
    expect(page.locator("[aria-invalid=true]")).to_have_count(0)
    expect(note_of(page, "size")).to_be_empty()


def test_a_large_file_is_predicted_in_parts(start: Any, visit: Any, tmp_path: Path) -> None:
    header = "weight,size,colour1,colour2,colour3"
    lines = [f"{60 + 270 * index / 25_000:.6f},9,0,1,0" for index in range(25_000)]
    path = tmp_path / "rows.csv"
    with start("max_body_bytes=300000") as server:
        page = visit(server.url)

        def choose(*parts: str) -> None:
            path.write_text("\n".join([header, *parts]) + "\n")
            page.locator("#file").set_input_files(path)

        choose(*lines)
        assert path.stat().st_size > 300_000
        expect(page.locator("#batch-state")).to_have_text("25,000 rows of rows.csv", timeout=60_000)
        with page.expect_download() as download:
            page.get_by_text("Download the predictions").click()
        assert download.value.suggested_filename == "predictions.csv"
        kept = Path(download.value.path()).read_text().splitlines()
        assert len(kept) == 25_001
        # Order is kept over the borders of parts, and each part's header but the first is left out.
        some = [0, 9_999, 10_000, 24_999]
        text = "\n".join([header, *(lines[index] for index in some)])
        expected = server.post("/predict/csv?on_error=reject_row", text).text.splitlines()
        assert [kept[0], *(kept[index + 1] for index in some)] == expected
        # Blank lines after whole parts are nothing.
        choose(*lines[:10_000], "\n")
        expect(page.locator("#batch-state")).to_have_text("10,000 rows of rows.csv", timeout=60_000)
        # An invalid row is named by its place in the whole file.
        choose(*lines, "120,9,0,1,5", "120,9")
        form = "the row must have as many values as the header has names; got '120,9'"
        problems = ("1 below the header: colour3 must be 0 or 1; got '5'", f"2 below the header: {form}")
        shown = [f"row 25,00{problem}" for problem in problems]
        expect(page.locator("#batch-problems li")).to_have_text(shown, timeout=60_000)
        expect(page.locator("#batch-state")).to_contain_text("25,000 of 25,002 rows of rows.csv")


def test_drift_and_the_model_card_are_shown(start: Any, visit: Any) -> None:
    with start() as server:
        page = visit(server.url)
        figures = page.locator("#drift-columns figure")
        expect(figures).to_have_count(4)
        expect(page.locator("#drift-state")).to_contain_text("from 200 on")
        server.post("/predict", {"rows": [ROW] * 300})
        page.locator("#refresh").click()
        expect(figures.filter(has_text="colour")).to_contain_text("change large")
        model = server.get("/model").json()
        facts = page.locator("#facts").inner_text()
        assert f"{model['metrics']['test']['accuracy']:.4f}" in facts
        assert model["files"]["model.onnx"] in facts
        expect(page.locator("#scores tbody tr")).to_have_count(3)


def test_a_server_with_a_key_asks_for_it(start: Any, visit: Any) -> None:
    with start(variables={"CANOPY_API_KEY": "geheim"}) as server:
        page = visit(server.url)
        page.get_by_label("This server asks for a key").fill("geheim")
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#verdict")).not_to_be_empty()
        expect(page.locator("#key-form")).to_be_hidden()
        page = visit(f"{server.url}/docs")
        page.get_by_role("button", name="Authorize").first.click()
        page.locator(".modal-ux input").fill("geheim")
        page.locator(".modal-ux").get_by_role("button", name="Apply credentials").click()
        page.locator(".modal-ux .btn-done").click()
        page.locator("#operations-predict-predict_predict_post .opblock-summary-control").click()
        page.get_by_role("button", name="Execute").click()
        expect(page.locator(".live-responses-table .response .response-col_status").first).to_have_text("200")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_axe_finds_nothing_that_keeps_people_away(server: Any, visit: Any, window: Any, scheme: Any) -> None:
    page = visit(server.url, window)
    page.emulate_media(color_scheme=scheme)
    for size, shown in (("9", page.locator("#verdict")), ("1000000", note_of(page, "size"))):
        page.locator("[name=size]").fill(size)
        expect(shown).not_to_be_empty()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


@pytest.mark.slow
def test_what_the_document_says_is_so(server: Any, schemathesis: Callable[[str], str]) -> None:
    assert "Tested: 8" in schemathesis(server.url)
    assert server.get("/health").status_code == 200


def test_the_document_s_examples_are_answered(server: Any) -> None:
    paths = server.get("/openapi.json").json()["paths"]
    asked = {path: operations["post"] for path, operations in paths.items() if "post" in operations}
    assert {*asked} == {"/predict", "/predict/csv", "/explain"}
    for path, operation in asked.items():
        ((kind, content),) = operation["requestBody"]["content"].items()
        answer = server.post(path, content["example"], headers={"Content-Type": kind})
        assert answer.status_code == 200, answer.text


def test_all_addresses_are_below_the_prefix_of_a_proxy(server: Any) -> None:
    """Each address is put together as a browser or a client generator does; the proxy strips the prefix."""
    prefix, found = "http://proxy/models/fruit", set()
    for page in ("/", "/docs"):
        addresses = re.findall(r"""(?:href|src|url)[=:] ?["']([^"'#]+)["']""", server.get(page).text)
        found |= {urljoin(f"{prefix}{page}", item) for item in addresses if not item.startswith("data:")}
    swagger = ("swagger/swagger-ui.css", "swagger/favicon-32x32.png")
    names = "docs openapi.json page.css page.js threshold.js swagger/swagger-ui-bundle.js"
    assert found == {f"{prefix}/{name}" for name in [*names.split(), *swagger]}
    assert {server.get(url.removeprefix(prefix)).status_code for url in found} == {200}
    asked = set(re.findall(r"""ask\("([^"?]+)[^"]*\"""", server.get("/page.js").text))
    assert asked == {"model", "explain", "predict/csv", "drift"}
    (item,) = server.get("/openapi.json").json()["servers"]
    assert urljoin(f"{prefix}/openapi.json", item["url"]) == f"{prefix}/"

"""The web UI, in a real browser."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

ROW = {"weight": 120.5, "size": 9, "colour1": 0, "colour2": 1, "colour3": 0}
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
Start = Callable[..., Any]


def note_of(page: Page, name: str) -> Locator:
    """Find where the web UI says what is wrong with a field."""
    return page.locator(".field").filter(has=page.locator(f'[name="{name}"]')).locator(".note")


def test_a_row_is_predicted_as_it_is_changed(server: Any, visit: Callable[..., Page]) -> None:
    page = visit(server.url)
    bars = page.locator("#probabilities li")
    expect(bars).to_have_count(3)
    shares = [
        float(text.removesuffix(" %")) for text in page.locator("#probabilities .value").all_inner_texts()
    ]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    found = set()
    for weight in (60, 200, 320):
        page.get_by_label("Weight, g", exact=True).fill(str(weight))
        row = {**ROW, "weight": weight, "size": page.locator("[name=size]").input_value()}
        row["size"] = float(row["size"])
        chosen = page.locator("[name=colour]").input_value()
        row |= {name: int(name == chosen) for name in ("colour1", "colour2", "colour3")}
        (reported,) = server.post("/predict", {"rows": [row]}).json()["predictions"]
        share = 100 * max(reported["probabilities"].values())
        expect(page.locator("#verdict")).to_have_text(f"{reported['class']}, {share:.1f} %")
        expect(page.locator("#probabilities li.best .name")).to_have_text(reported["class"])
        found.add(page.locator("#verdict").inner_text())
    assert len(found) > 1
    # Each of the features has had its part.
    expect(page.locator("#contributions li")).to_have_count(3)


def test_each_value_that_is_wrong_is_told_at_its_field(server: Any, visit: Callable[..., Page]) -> None:
    page = visit(server.url)
    expect(page.locator("#verdict")).not_to_be_empty()
    page.locator("[name=size]").fill("1000000")
    page.locator("[name=weight]").fill("")
    expect(note_of(page, "size")).to_contain_text("must be from 0 to 100 cm; got 1000000")
    expect(note_of(page, "weight")).to_have_text("must have a value in every row; got none")
    expect(page.get_by_role("alert")).to_contain_text(
        "weight must have a value in every row; got none. size must be from"
    )
    expect(page.locator("[aria-invalid=true]")).to_have_count(2)
    # Nothing is left of the row before.
    expect(page.locator("#verdict")).to_be_empty()
    expect(page.locator("#probabilities li")).to_have_count(0)
    page.locator("[name=size]").fill("9")
    page.locator("[name=weight]").fill("120.5")
    expect(page.get_by_role("alert")).to_be_empty()
    expect(page.locator("[aria-invalid=true]")).to_have_count(0)
    expect(note_of(page, "size")).to_be_empty()


def test_a_file_is_predicted_and_the_answer_can_be_kept(
    server: Any, visit: Callable[..., Page], tmp_path: Path
) -> None:
    page = visit(server.url)
    rows = [{**ROW, "weight": weight} for weight in (60, 110, 200, 290, 330)]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*ROW])
    writer.writeheader()
    writer.writerows(rows)
    path = tmp_path / "rows.csv"
    path.write_text(text.getvalue())
    page.locator("#file").set_input_files(path)
    expect(page.locator("#batch-state")).to_have_text("5 rows of rows.csv")
    with page.expect_download() as download:
        page.get_by_text("Download the predictions").click()
    assert download.value.suggested_filename == "predictions.csv"
    kept = Path(download.value.path()).read_text()
    assert kept == server.post("/predict/csv?on_error=reject_row", text.getvalue()).text
    shares = page.locator("#batch-counts .value").all_inner_texts()
    assert sum(float(share.removesuffix(" %")) for share in shares) == pytest.approx(100, abs=0.2)


def test_a_large_file_is_predicted_in_parts(start: Start, visit: Callable[..., Page], tmp_path: Path) -> None:
    header, line = "weight,size,colour1,colour2,colour3", "{:.6f},9,0,1,0"
    lines = [line.format(60 + 270 * index / 25_000) for index in range(25_000)]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    size = path.stat().st_size
    with start("max_body_bytes=300000") as server:
        assert size > 300_000
        page = visit(server.url)
        page.locator("#file").set_input_files(path)
        expect(page.locator("#batch-state")).to_have_text("25,000 rows of rows.csv", timeout=60_000)
        with page.expect_download() as download:
            page.get_by_text("Download the predictions").click()
        kept = Path(download.value.path()).read_text().splitlines()
        assert len(kept) == 25_001
        # Order is kept over the borders of parts, and each part's header but the first is left out.
        some = [0, 9_999, 10_000, 24_999]
        text = "\n".join([header, *(lines[index] for index in some)])
        expected = server.post("/predict/csv?on_error=reject_row", text).text.splitlines()
        assert [kept[0], *(kept[index + 1] for index in some)] == expected
        # Blank lines after whole parts are nothing.
        path.write_text("\n".join([header, *lines[:10_000]]) + "\n\n\n")
        page.locator("#file").set_input_files(path)
        expect(page.locator("#batch-state")).to_have_text("10,000 rows of rows.csv", timeout=60_000)
        # An invalid row is named by its place in the whole file.
        path.write_text("\n".join([header, *lines, "120,9,0,1,5"]) + "\n")
        page.locator("#file").set_input_files(path)
        expect(page.locator("#batch-problems li")).to_have_text(
            "row 25,001 below the header: colour3 must be 0 or 1; got '5'", timeout=60_000
        )
        expect(page.locator("#batch-state")).to_contain_text("25,000 of 25,001 rows of rows.csv")


def test_a_file_that_is_wrong_is_told_so(server: Any, visit: Callable[..., Page], tmp_path: Path) -> None:
    page = visit(server.url)
    path = tmp_path / "rows.csv"
    path.write_text("weight,size\n1,2\n")
    page.locator("#file").set_input_files(path)
    expect(page.locator("#batch-state")).to_have_text("rows.csv cannot be predicted:")
    problems = page.locator("#batch-problems li")
    expect(problems).to_have_text(
        ["colour must be given in the header, or all of its 0/1 columns; got no such column"]
    )
    expect(page.locator("#download")).to_be_hidden()


def test_drift_and_the_model_card_are_shown(start: Start, visit: Callable[..., Page]) -> None:
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


def test_a_server_with_a_key_asks_for_it(start: Start, visit: Callable[..., Page]) -> None:
    with start(environment={"CANOPY_API_KEY": "geheim"}) as server:
        page = visit(server.url)
        page.get_by_label("This server asks for a key").fill("geheim")
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#verdict")).not_to_be_empty()
        expect(page.locator("#key-form")).to_be_hidden()


def test_the_api_can_be_tried_out(start: Start, visit: Callable[..., Page]) -> None:
    with start(environment={"CANOPY_API_KEY": "geheim"}) as server:
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
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_axe_finds_nothing_that_keeps_people_away(
    server: Any, visit: Callable[..., Page], size: dict[str, int], scheme: Any
) -> None:
    page = visit(server.url, size)
    page.emulate_media(color_scheme=scheme)
    expect(page.locator("#verdict")).not_to_be_empty()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.locator("[name=size]").fill("1000000")
    expect(note_of(page, "size")).not_to_be_empty()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()

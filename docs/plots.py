"""Draw the plots of docs/images/ from the reports and the last run of the pipeline: make plots.

After `make repro`; the screenshots need Chromium (apt-get install chromium).
"""

import csv
import json
import math
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import matplotlib.pyplot as plt
import yaml
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs/images"
GREEN, ORANGE, GREY = "#1d6b4c", "#b0500f", "#7a8a83"
# Of the raw table, so that the drift plot of the web UI has something to show.
N_ROWS = 2000
LARGEST = 150_000


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("Error: the browser Chromium must be installed; got none: apt-get install chromium")
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    draw_result(OUT / "result.png")
    draw_curves(OUT / "curves.png")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 900})
        page.goto((ROOT / "reports/exploration/index.html").as_uri())
        page.screenshot(path=OUT / "exploration.png")
        take_web_ui(browser)
    for path in OUT.glob("*.png"):
        # Screenshots have few colours; a palette makes them a third of the size.
        Image.open(path).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
        assert path.stat().st_size < LARGEST, f"{path} has {path.stat().st_size:,} bytes"


def draw_result(path: Path) -> None:
    """Plot test accuracy over training time: ours, of other packages, and as published."""
    reports = ROOT / "reports"
    ours = [e for e in json.loads((reports / "experiments.json").read_text()) if e["split"] == "stratified"]
    peers = json.loads((reports / "benchmark/peers.json").read_text())
    rows = yaml.safe_load((ROOT / "docs/published.yaml").read_text())
    published = [{"split": row["split"], **item} for row in rows for item in row["published"]]
    figure, axes = plt.subplots(figsize=(7.2, 3.8), layout="constrained")
    groups = {
        f"Canopy, {peers['machine']['n_cores']} CPU cores": (
            [
                (
                    statistics.fmean(run["train_seconds"] for run in e["runs"]),
                    statistics.fmean(run["accuracy"] for run in e["runs"]),
                    e["name"],
                )
                for e in ours
            ],
            {"color": GREEN, "marker": "o", "s": 48},
        ),
        f"other packages, {peers['machine']['n_cores']} CPU cores": (
            [
                (row["fit_seconds"], row["accuracy"], row["model"])
                for row in peers["results"]
                if not row["model"].startswith("Canopy")
            ],
            {"color": GREY, "marker": "s", "s": 26},
        ),
        "published, one GPU": (
            [
                (60 * float(row["time"].split()[0]), row["accuracy"], row["model"])
                for row in published
                if row["split"] == "stratified" and "time" in row
            ],
            {"color": ORANGE, "marker": "^", "s": 26},
        ),
    }
    everything = [point for points, _ in groups.values() for point in points]
    for label, (points, style) in groups.items():
        seconds, accuracies, _ = zip(*points, strict=True)
        axes.scatter(seconds, accuracies, label=label, **style)
        is_ours = style["color"] == GREEN
        for second, accuracy, name in points:
            # A label above, where it would run into the next point's.
            crowded = any(
                1 < s / second < 3 and abs(accuracy - a) < 0.0012 for s, a, _ in everything if not is_ours
            )
            axes.annotate(
                name.replace("-linear embeddings", "").replace(" embeddings", ""),
                (second, accuracy),
                xytext=(0, 5) if crowded else (6, 2 if is_ours else -3),
                textcoords="offset points",
                horizontalalignment="center" if crowded else "left",
                fontsize=8.5 if is_ours else 7,
                weight="bold" if is_ours else "normal",
                color=style["color"],
            )
    axes.set(
        xscale="log", xlabel="training time", ylabel="test accuracy", xlim=(20, 14_000), ylim=(None, 0.98)
    )
    ticks = {30: "30 s", 60: "1 min", 300: "5 min", 1800: "30 min", 7200: "2 h"}
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=150)


def draw_curves(path: Path) -> None:
    """Plot losses and validation accuracy of the pipeline's run over its epochs."""
    name = json.loads((ROOT / "models/trained/run.json").read_text())["name"]
    with (ROOT / "logs/train/runs" / name / "csv/metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    def curve(key: str) -> tuple[list[int], list[float]]:
        points = [(int(row["epoch"]) + 1, float(row[key])) for row in rows if row["epoch"] and row.get(key)]
        return [epoch for epoch, _ in points], [value for _, value in points]

    figure, (left, right) = plt.subplots(ncols=2, figsize=(7.2, 2.6), layout="constrained")
    # One loss in several of an epoch is logged; the last one is its own.
    last = dict(zip(*curve("train/loss"), strict=True))
    left.plot(list(last), list(last.values()), ".-", color=GREY, label="train/loss")
    left.plot(*curve("val/nll"), ".-", color=GREEN, label="val/nll")
    left.set(xlabel="epoch", yscale="log")
    left.minorticks_off()
    left.set_yticks([0.1, 0.2, 0.5, 1], ["0.1", "0.2", "0.5", "1"])
    left.legend()
    epochs, accuracies = curve("val/accuracy")
    right.plot(epochs, accuracies, ".-", color=GREEN, label="val/accuracy")
    right.set(xlabel="epoch", ylim=(math.floor(min(accuracies) * 50) / 50, 1))
    right.legend(loc="lower right")
    for axes in (left, right):
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=150)


def take_web_ui(browser: Browser) -> None:
    """Serve the pipeline's bundle, use the web UI as a person would, and take screenshots."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as name:
        table = write_rows(Path(name) / "sites.csv")
        command = [
            sys.executable,
            "src/serve.py",
            f"port={url.rpartition(':')[2]}",
            f"hydra.run.dir={name}/log",
        ]
        server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait(f"{url}/ready")
            for kind, width, height in (("web_ui", 1180, 1120), ("web_ui_phone", 390, 844)):
                page = browser.new_page(viewport={"width": width, "height": height})
                page.goto(url)
                page.wait_for_selector("#verdict:not(:empty)")
                page.screenshot(path=OUT / f"{kind}.png")
                page.locator("#file").set_input_files(table)
                page.wait_for_selector("#download:not([hidden])")
                page.locator("#refresh").click()
                page.wait_for_timeout(500)
                if kind == "web_ui":
                    page.locator("#drift").screenshot(path=OUT / "drift.png")
        finally:
            server.terminate()
            server.wait(60)


def write_rows(path: Path) -> Path:
    """Write rows of the raw table as a file that the web UI takes."""
    with (ROOT / "data/raw/covtype.csv").open(newline="") as source, path.open("w", newline="") as target:
        reader = csv.DictReader(source)
        names = [name for name in reader.fieldnames or () if name != "Cover_Type"]
        writer = csv.DictWriter(target, names, extrasaction="ignore")
        writer.writeheader()
        for number, row in enumerate(reader):
            if number % 290 == 0 and number < 290 * N_ROWS:
                writer.writerow(row)
    return path


def wait(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"Error: {url} must answer within a minute; got no answer")


if __name__ == "__main__":
    main()

"""Take the plots of the server's page that docs/serving.md shows, with Chromium.

python docs/screenshots.py       (after `make repro`; apt-get install chromium)
"""

import csv
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs/images"
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
# Of the raw table, so that the drift plot has something to show.
N_ROWS = 2000


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("Error: it needs the browser Chromium; found none: apt-get install chromium")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as name:
        table = write_rows(Path(name) / "sites.csv")
        server = subprocess.Popen(
            [sys.executable, "src/serve.py", f"port={port}", f"hydra.run.dir={name}/log"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait(f"http://127.0.0.1:{port}/ready")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                for kind, (width, height) in SIZES.items():
                    page = browser.new_page(viewport={"width": width, "height": height})
                    take(page, f"http://127.0.0.1:{port}", table, OUT / f"page_{kind}.png")
        finally:
            server.terminate()
            server.wait(60)


def take(page: Page, url: str, table: Path, path: Path) -> None:
    """Use the page as a person would, and take its plot."""
    page.goto(url)
    page.wait_for_selector("#verdict:not(:empty)")
    page.locator("#file").set_input_files(table)
    page.wait_for_selector("#download:not([hidden])")
    page.locator("#refresh").click()
    page.wait_for_timeout(500)
    page.screenshot(path=path, full_page=True)


def write_rows(path: Path) -> Path:
    """Write rows of the raw table as a file that the page takes."""
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
    for _ in range(300):
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"Error: {url} must answer within 30 s; found no answer")


if __name__ == "__main__":
    main()

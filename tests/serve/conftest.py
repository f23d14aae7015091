import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from omegaconf import DictConfig
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from packages import ROOT, free_port

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
CONFIG = Path(__file__).with_name("schemathesis.toml")
DESKTOP = {"width": 1280, "height": 900}
Start = Callable[..., Any]


class Server:
    """A server in its own process, started by a command with `{port}` in the place of a free port."""

    def __init__(self, command: list[object], log: Path, *, variables: Any = None, **options: Any) -> None:
        self.port, self.log = free_port(), log
        self.url = f"http://127.0.0.1:{self.port}"
        words = [str(word).format(port=self.port) for word in command]
        options = {"cwd": ROOT, "env": os.environ | (variables or {}), **options}
        with log.open("w") as file:
            self.process = subprocess.Popen(words, **{"stdout": file, "stderr": file, **options})
        for _ in range(300):
            assert self.process.poll() is None, log.read_text()
            try:
                assert requests.get(f"{self.url}/ready", timeout=5).status_code == 200
            except (requests.ConnectionError, requests.Timeout):
                time.sleep(0.1)
            else:
                return
        self.process.kill()
        raise AssertionError(log.read_text())

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        data = body if isinstance(body, bytes | str) else json.dumps(body)
        return requests.post(f"{self.url}{path}", data=data, timeout=60, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=60, **options)

    def access_log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


@pytest.fixture
def small_params(small_params: DictConfig) -> DictConfig:
    small_params.table.columns.weight.range = [-1000, 1000]
    small_params.table.columns["size"].range = [0, 100]
    return small_params


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the first test of a module makes for the others: a bundle, a server."""
    found: dict[str, Any] = {"folder": tmp_path_factory.mktemp("kept")}
    yield found
    if "server" in found:
        found["server"].stop()


@pytest.fixture
def bundle(kept: dict[str, Any], request: pytest.FixtureRequest) -> Path:
    if "bundle" not in kept:
        request.getfixturevalue("trusted_targets")
        kept["bundle"] = request.getfixturevalue("export_run")().rename(kept["folder"] / "bundle")
    return kept["bundle"]


def serve_command(bundle: Path, folder: Path, *options: str) -> list[object]:
    return [
        *(sys.executable, "src/serve.py", f"bundle={bundle}", "port={port}"),
        *(*options, f"hydra.run.dir={folder}"),
    ]


@pytest.fixture
def start_command(tmp_path: Path) -> Start:
    """Run a command that serves for the length of a block."""

    @contextmanager
    def call(*command: object, **options: Any) -> Iterator[Server]:
        server = Server([*command], tmp_path / "server.log", **options)
        try:
            yield server
        finally:
            server.stop()

    return call


@pytest.fixture
def start(bundle: Path, start_command: Start, tmp_path: Path) -> Start:
    """Run a server with its own options for the length of a block."""

    def call(*options: str, **others: Any) -> Any:
        return start_command(*serve_command(bundle, tmp_path / "server", *options), **others)

    return call


@pytest.fixture
def server(bundle: Path, kept: dict[str, Any]) -> Server:
    """A server that is only asked."""
    if "server" not in kept:
        command = serve_command(bundle, kept["folder"] / "log", "max_body_bytes=20000", "max_rows=50")
        kept["server"] = Server(command, kept["folder"] / "server.log")
    return kept["server"]


@pytest.fixture
def schemathesis(tmp_path: Path) -> Callable[[str], str]:
    """Ask a server what its OpenAPI document allows, and what it forbids; gives what was printed."""
    program = [Path(sys.executable).parent / "schemathesis", "--config-file", CONFIG]
    options = ["--max-examples", "60", "--generation-deterministic", "--no-color"]

    def call(url: str) -> str:
        words = [*program, "run", *options, f"{url}/openapi.json"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs the browser Chromium, which is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        # In a container, as root, Chromium has no sandbox of its own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open the web UI of a server; an error on it, or a request to another host, fails the test."""
    pages: list[Page] = []
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        # The browser itself reports answers such as 422.
        if message.type == "error" and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    def call(url: str, size: Any = DESKTOP) -> Page:
        host = "/".join(url.split("/")[:3])

        def check(asked: str) -> None:
            if not asked.startswith((host, "data:", f"blob:{host}")):
                complaints.append(f"asked {asked}")

        page = browser.new_context(viewport=size, accept_downloads=True).new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", listen)
        page.on("request", lambda request: check(request.url))
        page.goto(url)
        pages.append(page)
        return page

    yield call
    assert complaints == []
    for page in pages:
        page.context.close()

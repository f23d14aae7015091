import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

import pytest
import requests
from omegaconf import DictConfig
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
DESKTOP = {"width": 1280, "height": 900}


class Server:
    """A server in its own process.

    Args:
        command: What starts it, `{port}` in the place of a free port.
        log: File for what it writes.
        folder: Its working folder.
        environment: Further variables of its environment.
        output: Where its standard output goes, if not into the log.
    """

    def __init__(
        self,
        command: Sequence[object],
        log: Path,
        *,
        folder: Path = ROOT,
        environment: dict[str, str] | None = None,
        output: IO[str] | None = None,
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [str(word).format(port=self.port) for word in command],
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdout=output or file,
                stderr=file,
            )
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

    def head(self, path: str) -> requests.Response:
        return requests.head(f"{self.url}{path}", timeout=60)

    def access_log(self) -> list[dict[str, Any]]:
        """Read the lines that tell of requests."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


Start = Callable[..., Any]


@pytest.fixture
def small_params(small_params: DictConfig) -> DictConfig:
    small_params.table.columns.weight.range = [-1000, 1000]
    small_params.table.columns["size"].range = [0, 100]
    return small_params


@pytest.fixture(scope="module")
def kept_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test of a module leaves its bundle for the others."""
    return tmp_path_factory.mktemp("kept") / "bundle"


@pytest.fixture
def bundle(kept_bundle: Path, request: pytest.FixtureRequest) -> Path:
    if not kept_bundle.is_dir():
        request.getfixturevalue("trusted_targets")
        request.getfixturevalue("export_run")().rename(kept_bundle)
    return kept_bundle


def serve_command(bundle: Path, folder: Path, *options: str) -> list[object]:
    return [
        sys.executable,
        "src/serve.py",
        f"bundle={bundle}",
        "port={port}",
        *options,
        f"hydra.run.dir={folder}",
    ]


@pytest.fixture
def start_command(tmp_path: Path) -> Start:
    """Run a command that serves for the length of a block."""

    @contextmanager
    def call(*command: object, **options: Any) -> Iterator[Server]:
        server = Server(command, tmp_path / "server.log", **options)
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


@pytest.fixture(scope="module")
def kept_server() -> Iterator[list[Server]]:
    """The server that the tests of a module share, once there is one."""
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def server(bundle: Path, kept_server: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server that is only asked."""
    if not kept_server:
        folder = tmp_path_factory.mktemp("server")
        command = serve_command(bundle, folder / "server", "max_body_bytes=20000", "max_rows=50")
        kept_server.append(Server(command, folder / "server.log"))
    return kept_server[0]


@pytest.fixture
def schemathesis(tmp_path: Path) -> Callable[[str], str]:
    """Ask a server what its OpenAPI document allows, and what it forbids; gives what was printed."""
    config = Path(__file__).with_name("schemathesis.toml")
    options = ["--max-examples", "60", "--generation-deterministic", "--no-color"]
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        "--config-file",
        str(config),
        "run",
        *options,
    ]

    def call(url: str) -> str:
        words = [*command, f"{url}/openapi.json"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


@pytest.fixture
def prefixed(server: Server) -> Iterator[str]:
    """The URL below which a reverse proxy serves `server`; it strips the prefix and knows no other path."""
    prefix = "/models/fruit"

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{prefix}/"):
                self.send_error(404)
                return
            answer = requests.request(
                self.command,
                f"{server.url}{self.path.removeprefix(prefix)}",
                data=self.rfile.read(int(self.headers.get("Content-Length", 0))),
                headers=dict(self.headers),
                timeout=60,
            )
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_GET  # noqa: N815 - as the class asks for it

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_port}{prefix}"
        proxy.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs the browser Chromium, which is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        # In a container, as root, Chromium has no sandbox of its own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """An open web UI, and all errors on it and requests from it to other hosts.

    Args:
        browser: The browser.
        url: Where the server is.
        size: Of the window.
    """

    def __init__(self, browser: Browser, url: str, size: dict[str, int]) -> None:
        self.page: Page = browser.new_context(viewport=size, accept_downloads=True).new_page()  # type: ignore[arg-type]
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._listen)
        self.page.on("request", lambda request: self._check(request.url, url))
        self.page.goto(url)

    def _listen(self, message: Any) -> None:
        # The browser itself reports answers such as 422.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def _check(self, asked: str, url: str) -> None:
        host = "/".join(url.split("/")[:3])
        if not asked.startswith((host, "data:", f"blob:{host}")):
            self.complaints.append(f"asked {asked}")


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open the web UI of a server; whatever it complains of fails the test."""
    visits: list[Visit] = []

    def call(url: str, size: dict[str, int] = DESKTOP) -> Page:
        visits.append(Visit(browser, url, size))
        return visits[-1].page

    yield call
    for found in visits:
        assert found.complaints == []
        found.page.context.close()

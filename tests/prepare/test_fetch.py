import hashlib
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from canopy.params import check_params
from canopy.params_sections import Source
from canopy.prepare import fetch


class Handler(SimpleHTTPRequestHandler):
    """Serve a folder, and count what is asked for."""

    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A real HTTP server on loopback: its address and the folder it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    Handler.requests = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", folder
        http.shutdown()


@pytest.fixture
def fetch_params(params: DictConfig, sample_csv: str, server: tuple[str, Path], tmp_path: Path) -> DictConfig:
    """The project's parameters, with the sample behind a local copy of the archive's address."""
    address, _ = server
    changes = {
        "paths": {"raw": str(tmp_path / "raw" / "covtype.csv")},
        "fetch": {
            "sha256": hashlib.sha256(sample_csv.encode()).hexdigest(),
            "sources": [
                {"url": f"{address}/covertype.zip", "member": "covtype.data.gz", "has_header": False}
            ],
        },
    }
    return check_params(OmegaConf.merge(params, changes))


def set_sources(params: DictConfig, sources: list[dict[str, object]]) -> None:
    params.fetch.sources = [OmegaConf.merge(OmegaConf.structured(Source), source) for source in sources]


def test_an_archive_without_header_gives_the_table(
    fetch_params: DictConfig, server: tuple[str, Path], root: Path, sample_csv: str
) -> None:
    (server[1] / "covertype.zip").write_bytes((root / "tests/data/covertype.zip").read_bytes())
    fetch.run(fetch_params)
    assert Path(fetch_params.paths.raw).read_text() == sample_csv
    assert Handler.requests == ["/covertype.zip"]


def test_a_table_that_is_there_and_right_is_not_fetched(fetch_params: DictConfig, sample_csv: str) -> None:
    path = Path(fetch_params.paths.raw)
    path.parent.mkdir()
    path.write_text(sample_csv)
    fetch.run(fetch_params)
    assert Handler.requests == []


def test_the_next_source_is_tried(
    fetch_params: DictConfig, server: tuple[str, Path], root: Path, sample_csv: str
) -> None:
    address, folder = server
    (folder / "good.zip").write_bytes((root / "tests/data/covertype.zip").read_bytes())
    (folder / "damaged.zip").write_bytes(b"PK\x03\x04 not an archive")
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("covtype.data.gz", b"not gzip")
    good = fetch_params.fetch.sources[0]
    names = ("absent", "damaged", "other", "good")
    set_sources(fetch_params, [{**good, "url": f"{address}/{name}.zip"} for name in names])
    fetch.run(fetch_params)
    assert Path(fetch_params.paths.raw).read_text() == sample_csv
    assert [path.name for path in Path(fetch_params.paths.raw).parent.iterdir()] == ["covtype.csv"]


def test_one_error_names_each_source_and_how_to_go_on(
    fetch_params: DictConfig, server: tuple[str, Path], root: Path
) -> None:
    address, folder = server
    (folder / "covertype.zip").write_bytes((root / "tests/data/covertype.zip").read_bytes())
    path = Path(fetch_params.paths.raw)
    path.parent.mkdir()
    path.write_text("what was there")
    good = fetch_params.fetch.sources[0]
    fetch_params.fetch.sha256 = "0" * 64
    sources = [
        {**good, "url": f"{address}/absent.zip"},
        {**good, "url": "http://127.0.0.1:1/closed.zip"},
        {**good, "member": "covtype.csv"},
        good,
        {"package": "canopy/no package name", "member": "a", "has_header": True, "pip": {}},
    ]
    set_sources(fetch_params, sources)
    with pytest.raises(ConnectionError) as caught:
        fetch.run(fetch_params)
    first, reasons, hint = str(caught.value).splitlines()
    assert first == "The table must come from the file or one of the sources; all failed:"
    there, *lines = reasons.split("; ")
    assert there.startswith(f"{path} is there with the SHA-256 ")
    assert "absent.zip: 404" in lines[0]
    assert "closed.zip: " in lines[1]
    assert "Connection refused" in lines[1]
    assert "must hold covtype.csv; found covtype.data.gz" in reasons
    assert f"must have the SHA-256 {'0' * 64}; found " in reasons
    assert "; canopy/no package name: " in reasons
    assert hint.startswith(f"Place the file by hand as {path}")
    assert path.read_text() == "what was there"


def test_a_silent_server_is_given_up(fetch_params: DictConfig) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:  # nobody answers
        url = f"http://127.0.0.1:{http.server_port}/a.zip"
        set_sources(fetch_params, [{"url": url, "member": "a", "has_header": True}])
        fetch_params.fetch.timeout_seconds = 0.2
        with pytest.raises(ConnectionError, match="timed out"):
            fetch.run(fetch_params)

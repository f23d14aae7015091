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
def server(tmp_path: Path, root: Path) -> Iterator[str]:
    """The address of a real HTTP server on loopback, with good and damaged copies of the archive."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "good.zip").write_bytes((root / "tests/data/covertype.zip").read_bytes())
    (folder / "damaged.zip").write_bytes(b"PK\x03\x04 not an archive")
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("covtype.data.gz", b"not gzip")
    Handler.requests = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture
def fetch_params(params: DictConfig, sample_csv: str, tmp_path: Path) -> DictConfig:
    """The project's parameters, of the sample."""
    (tmp_path / "raw").mkdir()
    sha256 = hashlib.sha256(sample_csv.encode()).hexdigest()
    changes = {"paths": {"raw": str(tmp_path / "raw" / "covtype.csv")}, "fetch": {"sha256": sha256}}
    return check_params(OmegaConf.merge(params, changes))


def set_sources(params: DictConfig, *sources: dict[str, object]) -> None:
    default = {"member": "covtype.data.gz", "has_header": False}
    params.fetch.sources = [
        OmegaConf.merge(OmegaConf.structured(Source), {**default, **source}) for source in sources
    ]


def test_next_source_is_tried_until_one_gives_the_table(
    fetch_params: DictConfig, server: str, sample_csv: str
) -> None:
    names = ("absent", "damaged", "other", "good")
    set_sources(fetch_params, *({"url": f"{server}/{name}.zip"} for name in names))
    path = Path(fetch_params.paths.raw)
    fetch.run(fetch_params)
    assert path.read_text() == sample_csv
    assert [entry.name for entry in path.parent.iterdir()] == ["covtype.csv"]
    assert len(Handler.requests) == 4
    # A table that is there, and right, is not fetched again.
    fetch.run(fetch_params)
    assert len(Handler.requests) == 4


def test_error_names_each_source_and_the_hint(fetch_params: DictConfig, server: str) -> None:
    path = Path(fetch_params.paths.raw)
    path.write_text("what was there")
    fetch_params.fetch.sha256 = "0" * 64
    set_sources(
        fetch_params,
        {"url": f"{server}/absent.zip"},
        {"url": "http://127.0.0.1:1/closed.zip"},
        {"url": f"{server}/good.zip", "member": "covtype.csv"},
        {"url": f"{server}/good.zip"},
        {"package": "canopy/no package name"},
        {"installed": "absent"},
        {"installed": "scikit-learn", "member": "absent.csv"},
    )
    with pytest.raises(ConnectionError) as caught:
        fetch.run(fetch_params)
    first, reasons, hint = str(caught.value).splitlines()
    assert first == "The table must come from the file or one of the sources; all failed:"
    assert reasons.startswith(f"{path} is there with the SHA-256 ")
    assert "absent.zip: 404" in reasons
    assert "Connection refused" in reasons
    assert "must hold covtype.csv; found covtype.data.gz" in reasons
    assert f"must have the SHA-256 {'0' * 64}; found " in reasons
    assert "; canopy/no package name: " in reasons
    assert "; absent: No package metadata was found" in reasons
    assert "No such file or directory" in reasons
    assert hint.startswith(f"Place the file by hand as {path}")
    assert path.read_text() == "what was there"


def test_silent_server_times_out(fetch_params: DictConfig) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:  # nobody answers
        set_sources(fetch_params, {"url": f"http://127.0.0.1:{http.server_port}/a.zip"})
        fetch_params.fetch.timeout_seconds = 0.2
        with pytest.raises(ConnectionError, match="timed out"):
            fetch.run(fetch_params)

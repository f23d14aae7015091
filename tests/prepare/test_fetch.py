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


@pytest.fixture
def server(tmp_path: Path, root: Path) -> Iterator[str]:
    """The address of a real HTTP server on loopback, with good and damaged copies of the archive."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "good.zip").write_bytes((root / "tests/data/covertype.zip").read_bytes())
    (folder / "damaged.zip").write_bytes(b"PK\x03\x04 not an archive")
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("covtype.data.gz", b"not gzip")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
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
    default = OmegaConf.structured(Source(member="covtype.data.gz", has_header=False))
    params.fetch.sources = [OmegaConf.merge(default, source) for source in sources]


def test_next_source_is_tried_until_one_gives_the_table(
    fetch_params: DictConfig, server: str, sample_csv: str
) -> None:
    names = ("absent", "damaged", "other", "good")
    set_sources(fetch_params, *({"url": f"{server}/{name}.zip"} for name in names))
    path = Path(fetch_params.paths.raw)
    fetch.run(fetch_params)
    assert path.read_text() == sample_csv
    assert [entry.name for entry in path.parent.iterdir()] == ["covtype.csv"]
    # A table that is there, and right, is not fetched again.
    set_sources(fetch_params, {"url": "http://127.0.0.1:1/closed.zip"})
    fetch.run(fetch_params)


def test_error_names_each_source_and_the_hint(fetch_params: DictConfig, server: str) -> None:
    path = Path(fetch_params.paths.raw)
    path.write_text("what was there")
    fetch_params.fetch.sha256 = "0" * 64
    fetch_params.fetch.timeout_seconds = 0.2
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as silent:
        reasons = [
            ({"url": f"{server}/absent.zip"}, "absent.zip: 404"),
            ({"url": "http://127.0.0.1:1/closed.zip"}, "Connection refused"),
            ({"url": f"http://127.0.0.1:{silent.server_port}/a.zip"}, "timed out"),
            ({"url": f"{server}/good.zip", "member": "a.csv"}, "must hold a.csv; found covtype.data.gz"),
            ({"url": f"{server}/good.zip"}, f"must have the SHA-256 {'0' * 64}; found "),
            ({"package": "canopy/no package name"}, "; canopy/no package name: "),
            ({"installed": "absent"}, "; absent: No package metadata was found"),
            ({"installed": "scikit-learn", "member": "absent.csv"}, "No such file or directory"),
        ]
        set_sources(fetch_params, *(source for source, _ in reasons))
        with pytest.raises(ConnectionError) as caught:
            fetch.run(fetch_params)
    message = str(caught.value)
    assert message.startswith("The table must come from the file or one of the sources; all failed:\n")
    assert f"{path} is there with the SHA-256 " in message
    assert [reason for _, reason in reasons if reason not in message] == []
    assert f"\nPlace the file by hand as {path}" in message
    assert path.read_text() == "what was there"

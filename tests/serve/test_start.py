"""What keeps a server from starting: a bundle, an option, a port."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.onnx", "model.pt2", "model.json"])
def test_a_changed_bundle_is_not_served(bundle: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-10])
    command = [sys.executable, "src/serve.py", f"bundle={copy}", f"hydra.run.dir={tmp_path}/log"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{name} must" in done.stderr
    assert "Traceback (most" not in done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bundle_that_changes_while_it_is_copied_is_not_served(
    bundle: Path, tmp_path: Path, workers: int
) -> None:
    program = (
        "import shutil, sys; from canopy.serve.server import serve; "
        "from canopy.serve.settings import Settings; "
        "shutil.copyfile = lambda source, target: target.write_bytes(source.read_bytes()[:-10]); "
        "serve(Settings(bundle=sys.argv[1], host='127.0.0.1', port=0, workers=int(sys.argv[2]), n_threads=1, "
        "max_body_bytes=10**6, max_rows=100, stop_seconds=5))"
    )
    command = [sys.executable, "-c", program, str(bundle), str(workers)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "ValueError: " in done.stderr
    assert "model.json must" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("workers=0", "workers: Input should be greater than or equal to 1; got 0"),
        ("port=99999", "port: Input should be less than or equal to 65535; got 99999"),
        ("workers=abc", "workers: Input should be a valid integer; got 'abc'"),
        ("n_threads=100000", "n_threads: Input should be less than or equal to 256; got 100000"),
        ("stop_seconds=null", "stop_seconds: Input should be a valid integer; got None"),
        ("host=", "host: String should have at least 1 character; got ''"),
        ("cors_origins=https://a.example", "cors_origins: Input should be a valid list; got 'https://a"),
        ("cors_origins=[https://a.example/x]", "cors_origins: String should match pattern"),
        ("cors_origins=[a.example]", "cors_origins: String should match pattern"),
        ("bundle=absent", "absent/model.json must exist; found no such file"),
    ],
)
def test_wrong_options_are_told(tmp_path: Path, option: str, message: str) -> None:
    command = [sys.executable, "src/serve.py", option, f"hydra.run.dir={tmp_path}/log"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback (most" not in done.stderr


def test_a_port_that_is_taken_is_told(bundle: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = [f"bundle={bundle}", f"port={port}", f"hydra.run.dir={tmp_path}/log"]
        root = Path(__file__).parents[2]
        command = [sys.executable, "src/serve.py", *options]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        f"must be a free address of this machine; got 127.0.0.1:{port}: Address already in use" in done.stderr
    )
    assert "Serving" not in done.stdout

"""Requests per second of the server, with its checks and counters, compared with a bare handler.

Both answer in one process on this machine; wrk asks over loopback.

python benchmarks/serving.py     (after `make repro`; wrk must be installed; two minutes)
"""

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.csv
from common import ROOT, median, parse, write

BUNDLE = ROOT / "models/canopy"
CONNECTIONS = (1, 8, 64)
BATCHES = (1, 100)
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %f %f %f\\n", summary.requests,
    e.connect + e.read + e.write + e.status + e.timeout, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""
SERVERS = {
    "bare handler": ["benchmarks/bare_server.py", str(BUNDLE), "{port}"],
    "canopy": ["src/serve.py", f"bundle={BUNDLE}", "port={port}", "hydra.run.dir={folder}/log"],
}


class Load(NamedTuple):
    """What one run of wrk found: answers per second, failed ones, latencies in milliseconds."""

    requests_per_second: float
    n_failed: int
    p50_ms: float
    p99_ms: float


def main() -> None:
    arguments = parse(__doc__)
    if shutil.which("wrk") is None:
        print("Left out: it needs wrk, which is not installed (apt-get install wrk)")
        return
    seconds, n_repeats = (1, 1) if arguments.quick else (4, 3)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bodies = {n_rows: write_body(folder / f"{n_rows}.json", n_rows) for n_rows in BATCHES}
        with started("bare handler", folder) as bare, started("canopy", folder) as ours:
            for n_rows, body in bodies.items():
                for connections in CONNECTIONS:
                    found: dict[str, list[Load]] = {"bare handler": [], "canopy": []}
                    for _ in range(n_repeats):
                        for server, port in (("bare handler", bare), ("canopy", ours)):
                            found[server].append(load(port, body, connections, seconds))
                    results.append(row_of(n_rows, connections, found))
                    print(results[-1], flush=True)
    write("serving", results, arguments)


def write_body(path: Path, n_rows: int) -> Path:
    """Write a request of raw test-like rows, all columns named."""
    table = pyarrow.csv.read_csv(ROOT / "data/raw/covtype.csv")
    chosen = np.random.default_rng(0).choice(table.num_rows, n_rows, replace=False)
    features = [name for name in table.column_names if name != "Cover_Type"]
    path.write_text(json.dumps({"rows": table.select(features).take(chosen).to_pylist()}))
    return path


@contextmanager
def started(name: str, folder: Path) -> Iterator[int]:
    """Run a server; gives its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [part.format(port=port, folder=folder) for part in SERVERS[name]]
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield port
        finally:
            process.terminate()
            process.wait(60)


def load(port: int, body: Path, connections: int, seconds: int) -> Load:
    """Let wrk ask for some seconds."""
    script = body.with_suffix(".lua")
    script.write_text(SCRIPT.format(body=body))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "-s", str(script)]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/predict"], check=True, capture_output=True, text=True
    )
    match = re.search(r"^RESULT (\d+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+)$", done.stdout, re.MULTILINE)
    assert match, done.stdout
    n_requests, n_failed, duration, p50, p99 = map(float, match.groups())
    return Load(n_requests / duration, int(n_failed), p50, p99)


def row_of(n_rows: int, connections: int, found: dict[str, list[Load]]) -> dict[str, Any]:
    row: dict[str, Any] = {"rows": n_rows, "connections": connections}
    for server, loads in found.items():
        row[f"{server} requests/s"] = median([load.requests_per_second for load in loads])
        row[f"{server} p50 ms"] = median([load.p50_ms for load in loads])
        row[f"{server} p99 ms"] = median([load.p99_ms for load in loads])
        row[f"{server} failed"] = sum(load.n_failed for load in loads)
    ratios = [
        ours.requests_per_second / bare.requests_per_second
        for ours, bare in zip(found["canopy"], found["bare handler"], strict=True)
    ]
    row["canopy/bare handler"] = round(median(ratios), 3)
    return row


if __name__ == "__main__":
    main()

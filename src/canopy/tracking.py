"""Servers that track runs: their packages, and where MLflow keeps runs and models."""

import os
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from canopy.passwords import hide_passwords, refuse_passwords

URI_VARIABLE = "MLFLOW_TRACKING_URI"
# Without a server: a database next to the other logs; `mlflow server` shows it.
FOLDER = Path("logs")

# What holds unless the environment says otherwise. A request that gets no answer would be repeated for four
# minutes, and training waits for it. MLflow would also report to its makers how it is used, and draw a bar
# for the few files of a bundle.
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def require_extra(package: str, *, option: str) -> None:
    """Refuse an option that needs the package of an extra which is not installed."""
    if find_spec(package) is None:
        hint = f"pip install --editable '.[{package}]'"
        raise ValueError(f"{option} needs the package {package}; it is not installed: {hint}")


def reason_of(error: BaseException) -> str:
    """Give what a client reports about a request that failed, on one line, without passwords."""
    text = " ".join(str(error).split())
    # Of a connection, what urllib3 puts at the end.
    return hide_passwords(text.rpartition("Caused by ")[2])[:200]


def set_defaults() -> None:
    """Set `DEFAULTS`, before MLflow is imported for the first time."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


def store_uri(given: str | None = None) -> str:
    """Give the address of the server: as given, else of the environment, else of the local database."""
    uri = given or os.environ.get(URI_VARIABLE) or f"sqlite:///{FOLDER}/mlflow.db"
    # MLflow shows the address of each run.
    refuse_passwords([uri], hint="MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD are for them")
    return uri


def opening(uri: str) -> AbstractContextManager[Any]:
    """Let one process at a time open a database, in which MLflow then creates its tables."""
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///"):
        return nullcontext()
    # Here, since the server's image does without it.
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{path}.lock")


def artifact_location(uri: str) -> str | None:
    """Give where an experiment of the local database keeps files; a server chooses that itself."""
    return (FOLDER / "mlflow").absolute().as_uri() if uri.startswith("sqlite:") else None

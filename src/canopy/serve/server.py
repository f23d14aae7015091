"""Start a server: check the bundle, then let uvicorn keep its processes running."""

import logging
import tempfile
from dataclasses import replace
from pathlib import Path

import uvicorn

from canopy.bundle.scorer import Scorer
from canopy.serve.metrics import share_among_processes
from canopy.serve.settings import Settings

log = logging.getLogger(__name__)

FACTORY = "canopy.serve.app:create_app"


def serve(settings: Settings) -> None:
    """Answer requests until a signal stops the server; then finish those in flight.

    Args:
        settings: The server's.

    Raises:
        FileNotFoundError: If a file of the bundle is not there.
        ValueError: If the bundle has been damaged or changed.
    """
    # Here, so that a mistake is told once, and not by each process.
    manifest = Scorer(settings.bundle).manifest
    log.info("Serving %s (%s) on http://%s:%d", settings.bundle, manifest.title, settings.host, settings.port)
    with tempfile.TemporaryDirectory(prefix="canopy-serve-") as folder:
        if settings.workers > 1:
            share_among_processes(Path(folder) / "metrics")
            settings = replace(settings, shared_folder=folder)
        settings.export()
        uvicorn.run(
            FACTORY,
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            log_config=None,
            # The gate writes one.
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=settings.stop_seconds,
        )

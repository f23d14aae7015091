"""The application of one process: which path is answered by what, the document of all paths, the pages."""

import hmac
import multiprocessing
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from importlib.resources import files
from mimetypes import guess_type
from pathlib import Path
from typing import Any

from fastapi import Security
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from canopy.serve.access_log import AccessLog
from canopy.serve.openapi import ANSWERS, CSV_HEADERS, body_of, csv_body
from canopy.serve.problems import RowsRefused
from canopy.serve.service import Service, as_json
from canopy.serve.settings import Settings

# Variable of the environment with the key: what is given on a command line is written into logs.
API_KEY = "CANOPY_API_KEY"
# In log and counters, where no client is left to be answered.
CLIENT_LEFT = 499

# The web UI, and the parts of Swagger UI, which FastAPI would load from another host: package and file.
PAGES = {
    "/": ("canopy.serve.page", "index.html"),
    "/page.css": ("canopy.serve.page", "page.css"),
    "/page.js": ("canopy.serve.page", "page.js"),
    "/swagger/swagger-ui-bundle.js": ("fastapi_swagger.resources", "swagger-ui-bundle.js"),
    "/swagger/swagger-ui.css": ("fastapi_swagger.resources", "swagger-ui.css"),
    "/swagger/favicon-32x32.png": ("fastapi_swagger.resources", "favicon-32x32.png"),
}
# It loads nothing from elsewhere.
PAGE_HEADERS = {"Content-Security-Policy": "default-src 'self'; img-src data:", "Cache-Control": "no-cache"}
# Swagger UI has a script and styles in the page itself.
DOCS_HEADERS = {
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline'; img-src 'self' data:",
    "Cache-Control": "no-cache",
}

Handler = Callable[[Request], Awaitable[Response]]


def create_app(settings: Settings, *, shared: Path | None = None) -> AccessLog:
    """Make the application of one process.

    Args:
        settings: The server's.
        shared: Where several processes share counts; None for one process.

    Raises:
        FileNotFoundError: If a file of the bundle is not there.
        ValueError: If the bundle has been damaged or changed.
    """
    end_with_parent()
    service = Service(settings, shared=shared)
    manifest, key = service.manifest, os.environ.get(API_KEY)
    endpoints: list[tuple[str, Handler, str, dict[str, Any] | None]] = [
        ("/predict", service.predict, "predict", body_of(manifest, max_rows=settings.max_rows)),
        ("/predict/csv", service.predict_csv, "predict", csv_body(manifest)),
        ("/explain", service.explain, "predict", body_of(manifest, max_rows=1)),
        ("/model", service.model, "model", None),
        ("/drift", service.drift, "model", None),
        ("/health", service.health, "state", None),
        ("/ready", service.ready, "state", None),
        ("/metrics", service.metrics, "state", None),
    ]
    routes: list[Route] = []
    described: list[APIRoute] = []
    for path, handler, tag, body in endpoints:
        methods = ["GET" if body is None else "POST"]
        needs_key = key is not None and 401 in ANSWERS[path]
        # FastAPI only describes: its way to a handler takes a fifth of the time of a row.
        described.append(
            APIRoute(
                path,
                handler,
                methods=methods,
                tags=[tag],
                openapi_extra=body,
                dependencies=[Security(APIKeyHeader(name="X-API-Key"))] if needs_key else [],
                responses=ANSWERS[path],
                # It would describe the answer from its type as well.
                response_class=Response,
            )
        )
        routes.append(
            Route(path, require_key(handler, key) if key and needs_key else handler, methods=methods)
        )
    document = get_openapi(
        title="Canopy",
        summary=manifest.table.title,
        description=manifest.table.about,
        version=manifest.versions["canopy"],
        # Next to the document, also where a proxy serves both below a prefix.
        servers=[{"url": "."}],
        routes=described,
    )
    document["x-table"] = manifest.table.model_dump(mode="json", exclude_none=True)
    pages = {**read_pages(manifest.table.title), "/openapi.json": as_json(document)}
    routes += [Route(path, response, methods=["GET"]) for path, response in pages.items()]
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=("GET", "HEAD", "POST"),
        allow_headers=("Content-Encoding", "Content-Type", "X-API-Key", "X-Request-ID"),
        expose_headers=("X-Request-ID", *CSV_HEADERS),
    )
    app = Starlette(
        routes=routes,
        middleware=[cors] if settings.cors_origins else [],
        exception_handlers={HTTPException: refuse, ClientDisconnect: forget},
    )
    paths = {route.path for route in routes}
    return AccessLog(app, paths=paths, counters=service.counters, model=service.name)


def require_key(handler: Handler, key: str) -> Handler:
    """Let a handler answer requests with the key only."""

    async def answer(request: Request) -> Response:
        given = request.headers.get("x-api-key", "").encode("latin-1")
        if not hmac.compare_digest(given, os.fsencode(key)):
            raise HTTPException(401, "The header X-API-Key must hold this server's key; got another or none")
        return await handler(request)

    return answer


async def refuse(_: Request, error: Exception) -> Response:
    """Answer a client's mistake."""
    assert isinstance(error, HTTPException)
    content: dict[str, Any] = {"error": error.detail}
    if isinstance(error, RowsRefused):
        content["problems"] = error.problems
    return as_json(content, error.status_code, error.headers)


async def forget(_: Request, __: Exception) -> Response:
    """Note that a client has left, which is no error of the server."""
    return Response(status_code=CLIENT_LEFT)


def end_with_parent() -> None:
    """Let a process of several end when the one that keeps them running is gone, however that came."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True, name="end with parent").start()


def read_pages(title: str) -> dict[str, Response]:
    """Read the web UI and Swagger UI; their addresses do not depend on the name this host is asked by."""
    docs = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=f"{title}: API",
        swagger_js_url="swagger/swagger-ui-bundle.js",
        swagger_css_url="swagger/swagger-ui.css",
        swagger_favicon_url="swagger/favicon-32x32.png",
        swagger_ui_parameters={"tryItOutEnabled": True, "displayRequestDuration": True},
    )
    docs.headers.update(DOCS_HEADERS)
    parts = {
        path: Response(
            (files(package) / name).read_bytes(), headers=PAGE_HEADERS, media_type=guess_type(name)[0]
        )
        for path, (package, name) in PAGES.items()
    }
    return {"/docs": docs, **parts}

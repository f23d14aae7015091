"""The application of one process: which path is answered by what, and the pages."""

import hmac
import os
from importlib.resources import files
from mimetypes import guess_type
from pathlib import Path

from fastapi.openapi.docs import get_swagger_ui_html
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import RequestResponseEndpoint as Handler
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from canopy.processes import end_with_parent
from canopy.serve.metrics import AccessLog
from canopy.serve.openapi import ANSWERS, CSV_HEADERS, OPEN, describe
from canopy.serve.problems import RowsRefused
from canopy.serve.service import Service, Settings, as_json

# Variable of the environment with the key: what is given on a command line is written into logs.
API_KEY = "CANOPY_API_KEY"

# The web UI, and the parts of Swagger UI, which FastAPI would load from another host.
PAGES = ("index.html", "page.css", "page.js", "threshold.js")
SWAGGER = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
# It loads nothing from elsewhere.
PAGE_HEADERS = {"Content-Security-Policy": "default-src 'self'; img-src data:", "Cache-Control": "no-cache"}


def create_app(settings: Settings, *, shared: Path | None = None) -> AccessLog:
    """Make the application of one process; several share their counts in a folder."""
    # Else it would hold the port.
    end_with_parent()
    service = Service(settings, shared=shared)
    manifest, key = service.manifest, os.environ.get(API_KEY)
    # A method of the service for each path: /predict/csv is `predict_csv`.
    handlers: dict[str, Handler] = {path: getattr(service, path[1:].replace("/", "_")) for path in ANSWERS}
    document = describe(manifest, handlers, max_rows=settings.max_rows, with_key=key is not None)
    # FastAPI only describes: its way to a handler takes a fifth of the time of a row.
    routes = [
        Route(
            path,
            handler if key is None or path in OPEN else require_key(handler, key),
            methods=[method.upper() for method in document["paths"][path]],
        )
        for path, handler in handlers.items()
    ]
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
        exception_handlers={
            HTTPException: refuse,
            # Of the log and counters, since no client is left to be answered.
            ClientDisconnect: lambda *_: Response(status_code=499),
        },
    )
    return AccessLog(app, paths={*handlers, *pages}, counters=service.counters, model=service.name)


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
    problems = {"problems": error.problems} if isinstance(error, RowsRefused) else {}
    return as_json({"error": error.detail, **problems}, error.status_code, error.headers)


def read_pages(title: str) -> dict[str, Response]:
    """Read the web UI and Swagger UI; their addresses do not depend on the name this host is asked by."""
    docs = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=f"{title}: API",
        swagger_js_url="swagger/swagger-ui-bundle.js",
        swagger_css_url="swagger/swagger-ui.css",
        swagger_favicon_url="swagger/favicon-32x32.png",
        swagger_ui_parameters={"tryItOutEnabled": True},
    )
    # It has a script and styles in the page itself.
    policy = "default-src 'self' 'unsafe-inline'; img-src 'self' data:"
    docs.headers.update(PAGE_HEADERS | {"Content-Security-Policy": policy})
    pages = {f"/{name}": files("canopy.serve.page") / name for name in PAGES}
    pages |= {f"/swagger/{name}": files("fastapi_swagger.resources") / name for name in SWAGGER}
    found: dict[str, Response] = {"/docs": docs}
    for path, file in pages.items():
        page = Response(file.read_bytes(), headers=PAGE_HEADERS, media_type=guess_type(path)[0])
        found[path.removesuffix("index.html")] = page
    return found

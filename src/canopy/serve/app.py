"""The application of one process: which path is answered by what, and how mistakes are told."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import orjson
from fastapi import FastAPI, Request, Security
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import Response
from fastapi.security import APIKeyHeader
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from canopy.serve.gate import App, Gate, Receive, Send
from canopy.serve.openapi import answers_of, body_of, csv_body
from canopy.serve.problems import RowsRefused
from canopy.serve.service import Service
from canopy.serve.settings import Settings

# The web UI, and the parts of Swagger UI, which FastAPI by itself would load from another host: package of
# the files, path to file and its type.
PAGES = {
    "canopy.serve.page": {
        "/": ("index.html", "text/html"),
        "/page.css": ("page.css", "text/css"),
        "/page.js": ("page.js", "text/javascript"),
    },
    "fastapi_swagger.resources": {
        "/swagger/swagger-ui-bundle.js": ("swagger-ui-bundle.js", "text/javascript"),
        "/swagger/swagger-ui.css": ("swagger-ui.css", "text/css"),
        "/swagger/favicon-32x32.png": ("favicon-32x32.png", "image/png"),
    },
}
# It loads nothing from elsewhere.
PAGE_HEADERS = {"Content-Security-Policy": "default-src 'self'; img-src data:", "Cache-Control": "no-cache"}
# Swagger UI has a script and styles in the page itself.
DOCS_HEADERS = {
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline'; img-src 'self' data:",
    "Cache-Control": "no-cache",
}


def create_app(settings: Settings | None = None) -> Gate:
    """Make the application of one process.

    Args:
        settings: The server's; those in the environment if None.

    Raises:
        FileNotFoundError: If a file of the bundle is not there.
        ValueError: If the bundle has been damaged or changed.
    """
    settings = settings or Settings.from_environment()
    end_with_parent()
    service = Service(settings)
    manifest = service.manifest
    app = FastAPI(
        title="Canopy",
        summary=manifest.table.title,
        description=manifest.table.about,
        version=manifest.versions["canopy"],
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
        # Beside the document, also where a proxy serves both below a prefix.
        servers=[{"url": "."}],
    )
    # The gate looks at the key; this describes it.
    key = [] if settings.api_key is None else [Security(APIKeyHeader(name="X-API-Key", auto_error=False))]
    answers = answers_of(manifest)

    def add(path: str, handler: Callable[..., Any], tag: str, body: dict[str, Any] | None = None) -> None:
        app.add_api_route(
            path,
            handler,
            methods=["GET" if body is None else "POST"],
            tags=[tag],
            openapi_extra=body,
            # Each has an answer for a wrong key, unless anybody may ask.
            dependencies=key if 401 in answers[path] else [],
            responses=answers[path],
            # FastAPI would describe the answer from its type as well.
            response_class=Response,
        )

    add("/predict", service.predict, "predict", body_of(manifest, max_rows=settings.max_rows))
    add("/predict/csv", service.predict_csv, "predict", csv_body(manifest))
    add("/explain", service.explain, "predict", body_of(manifest, max_rows=1))
    add("/model", service.model, "model")
    add("/drift", service.drift, "model")
    add("/health", service.health, "state")
    add("/ready", service.ready, "state")
    add("/metrics", service.metrics, "state")
    app.get("/docs", include_in_schema=False)(docs_page(f"{manifest.table.title}: API"))
    for package, parts in PAGES.items():
        for path, (name, kind) in parts.items():
            app.get(path, include_in_schema=False)(page_part(files(package) / name, kind))
    app.add_exception_handler(RowsRefused, refuse_rows)
    app.add_exception_handler(HTTPException, refuse)
    # FastAPI keeps the document and serves it.
    app.openapi()["x-table"] = manifest.table.model_dump(mode="json", exclude_none=True)
    paths = {route.path for route in app.routes if isinstance(route, Route)}
    direct = Direct(app, path="/predict", handler=service.predict)
    return Gate(direct, settings=settings, counters=service.counters, model=service.name, paths=paths)


class Direct:
    """ASGI middleware that answers one path itself, as the application would, and passes all others on.

    FastAPI's way to a handler takes a fifth of the time of a row, and has nothing on it that this handler
    needs.

    Args:
        app: The application.
        path: The path.
        handler: What answers POST requests there.
    """

    def __init__(self, app: App, *, path: str, handler: Callable[[Request], Awaitable[Response]]) -> None:
        self._app, self._path, self._handler = app, path, handler

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope.get("path") != self._path or scope.get("method") != "POST":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await self._handler(request)
        except RowsRefused as error:
            response = await refuse_rows(request, error)
        except HTTPException as error:
            response = await refuse(request, error)
        except ClientDisconnect:
            raise
        except Exception:
            await Response("Internal Server Error", 500)(scope, receive, send)
            # The server writes down where it was.
            raise
        await response(scope, receive, send)


def end_with_parent() -> None:
    """Let a process of several end when the one that keeps them running is gone, however that came."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True, name="end with parent").start()


def docs_page(title: str) -> Callable[[], Awaitable[Response]]:
    """Make what answers with Swagger UI; its addresses do not depend on the name this host was asked by."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=title,
        swagger_js_url="swagger/swagger-ui-bundle.js",
        swagger_css_url="swagger/swagger-ui.css",
        swagger_favicon_url="swagger/favicon-32x32.png",
        swagger_ui_parameters={"tryItOutEnabled": True, "displayRequestDuration": True},
    )
    page.headers.update(DOCS_HEADERS)

    async def docs() -> Response:
        return page

    return docs


def page_part(file: Traversable, kind: str) -> Callable[[], Awaitable[Response]]:
    """Make what answers with a file of a page."""
    content = file.read_bytes()

    async def part() -> Response:
        return Response(content, media_type=kind, headers=PAGE_HEADERS)

    return part


async def refuse_rows(_: Request, error: Exception) -> Response:
    """Answer rows that cannot be predicted."""
    assert isinstance(error, RowsRefused)
    problems = [problem._asdict() for problem in error.problems]
    return Response(
        orjson.dumps({"error": str(error), "problems": problems}), 422, media_type="application/json"
    )


async def refuse(request: Request, error: Exception) -> Response:
    """Answer any other mistake of a client."""
    assert isinstance(error, HTTPException)
    message = error.detail
    if message == HTTPStatus(error.status_code).phrase:
        # Starlette's own, for what no route is for.
        found = f"{request.method} {request.url.path[:200]}"
        message = f"A request must be one that /openapi.json describes; got {found}"
    return Response(
        orjson.dumps({"error": message}), error.status_code, error.headers, media_type="application/json"
    )

"""The application of one process: which path is answered by what, the document of all paths, the pages."""

import multiprocessing
import os
import signal
import threading
from importlib.resources import files

from fastapi import Security
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader
from starlette.requests import Request

from canopy.serve.gate import Gate, Handler, as_json
from canopy.serve.openapi import answers_of, body_of, csv_body
from canopy.serve.service import Service
from canopy.serve.settings import Settings

# The web UI, and the parts of Swagger UI, which FastAPI would load from another host: package of
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
    answers = answers_of(manifest)
    # The gate looks at the key; this describes it.
    key = [] if settings.api_key is None else [Security(APIKeyHeader(name="X-API-Key", auto_error=False))]
    rows = body_of(manifest, max_rows=settings.max_rows)
    routes = [
        APIRoute(
            path,
            handler,
            methods=["GET" if body is None else "POST"],
            tags=[tag],
            openapi_extra=body,
            dependencies=key if 401 in answers[path] else [],
            responses=answers[path],
            # FastAPI would describe the answer from its type as well.
            response_class=Response,
        )
        for path, handler, tag, body in (
            ("/predict", service.predict, "predict", rows),
            ("/predict/csv", service.predict_csv, "predict", csv_body(manifest)),
            ("/explain", service.explain, "predict", body_of(manifest, max_rows=1)),
            ("/model", service.model, "model", None),
            ("/drift", service.drift, "model", None),
            ("/health", service.health, "state", None),
            ("/ready", service.ready, "state", None),
            ("/metrics", service.metrics, "state", None),
        )
    ]
    document = get_openapi(
        title="Canopy",
        summary=manifest.table.title,
        description=manifest.table.about,
        version=manifest.versions["canopy"],
        # Next to the document, also where a proxy serves both below a prefix.
        servers=[{"url": "."}],
        routes=routes,
    )
    document["x-table"] = manifest.table.model_dump(mode="json", exclude_none=True)
    handlers = {
        # Each that needs a key has an answer for a wrong one.
        route.path: Handler(
            "POST" if route.openapi_extra else "GET",
            route.endpoint,
            is_open=401 not in answers[route.path],
        )
        for route in routes
    }
    handlers |= {path: page(response) for path, response in read_pages(manifest.table.title).items()}
    handlers["/openapi.json"] = page(as_json(document))
    return Gate(handlers, settings=settings, counters=service.counters, model=service.name)


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
        path: Response((files(package) / name).read_bytes(), media_type=kind, headers=PAGE_HEADERS)
        for package, found in PAGES.items()
        for path, (name, kind) in found.items()
    }
    return {"/docs": docs, **parts}


def page(response: Response) -> Handler:
    """Answer with a page, which anybody may read."""

    async def answer(_: Request) -> Response:
        return response

    return Handler("GET", answer, is_open=True)

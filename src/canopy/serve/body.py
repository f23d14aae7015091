"""Read the body of a request: in which form it comes, how large it is, which rows a JSON object gives."""

import gzip
import io
import zlib
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request

from canopy.serve.problems import BodyTooLarge, TooManyRows, named

# What a body must be.
JSON, CSV = 'JSON, {"rows": [{"column": value, ...}]}', "CSV in UTF-8 with a header line"

# Brackets that a body may have besides two for each row; each makes an object, millions make gigabytes.
SPARE_BRACKETS = 1000


async def read_body(request: Request, *, kind: str, limit: int) -> tuple[bytes, bool]:
    """Read the body of a request, `limit` bytes at most.

    Returns:
        The body, and whether it is compressed by gzip.

    Raises:
        HTTPException: If there is none, it is too large, or comes in a form that is not read.
    """
    headers = dict(request.scope["headers"])
    if headers.get(b"content-type", b"").lower().startswith(b"multipart/"):
        raise HTTPException(415, f"The body must be {kind}; got a form (multipart): send the content itself")
    encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise HTTPException(
            415,
            f"The Content-Encoding must be gzip, or none; got {named(encoding)}",
            {"Accept-Encoding": "gzip"},
        )
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BodyTooLarge(limit)
    if not body or body.isspace():
        raise HTTPException(400, f"The body must be {kind}; got an empty body")
    return bytes(body), encoding == "gzip"


def decompress(body: bytes, *, limit: int) -> bytes:
    """Decompress a body.

    Raises:
        HTTPException: If it is no gzip data, or more than `limit` bytes.
    """
    try:
        content = gzip.GzipFile(fileobj=io.BytesIO(body)).read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise HTTPException(
            400, f"The body must be gzip data, as Content-Encoding says; got {error}"
        ) from error
    if len(content) > limit:
        raise BodyTooLarge(limit)
    return content


def parse_rows(body: bytes, *, max_rows: int) -> list[Any]:
    """Give the rows of a JSON body.

    Raises:
        HTTPException: If it is no JSON object with a list of rows, has too many, or far more objects and
            lists than so many rows have.
    """
    if body.count(b"{") + body.count(b"[") > 2 * max_rows + SPARE_BRACKETS:
        raise TooManyRows(max_rows, "more objects or lists than those have")
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise HTTPException(400, f"The body must be JSON; got {error}") from error
    if type(content) is not dict or type(content.get("rows")) is not list or len(content) != 1:
        raise HTTPException(
            422, 'The body must be an object with a list of rows: {"rows": [{"column": value, ...}]}'
        )
    rows: list[Any] = content["rows"]
    if len(rows) > max_rows:
        raise TooManyRows(max_rows, f"{len(rows):,}")
    return rows

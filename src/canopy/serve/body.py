"""Read the body of a request: in which form it comes, how large it is, which rows a JSON object gives."""

import gzip
import io
import zlib
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request

from canopy.serve.problems import check_row_count

# Brackets that a body may have besides two for each row; each makes an object, millions make gigabytes.
SPARE_BRACKETS = 1000


async def read_body(request: Request, *, limit: int) -> tuple[bytes, bool]:
    """Read the body of a request, `limit` bytes at most; gives also whether it is compressed by gzip."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise HTTPException(415, f"The Content-Encoding must be gzip, or none; got {encoding[:80]}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        check_size(body, limit=limit)
    if not body or body.isspace():
        raise HTTPException(400, "The body must hold rows; got an empty body")
    return bytes(body), encoding == "gzip"


def decompress(body: bytes, *, limit: int) -> bytes:
    """Decompress a body by gzip, `limit` bytes at most."""
    try:
        content = gzip.GzipFile(fileobj=io.BytesIO(body)).read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = f"The body must be gzip data, as Content-Encoding says; got {error}"
        raise HTTPException(400, reason) from error
    check_size(content, limit=limit)
    return content


def check_size(body: bytes | bytearray, *, limit: int) -> None:
    if len(body) > limit:
        raise HTTPException(413, f"The body must be at most {limit:,} bytes: send fewer rows at once")


def parse_rows(body: bytes, *, max_rows: int) -> list[Any]:
    """Give the rows of a JSON body.

    Raises:
        HTTPException: If it is no JSON object with a list of rows, has too many, or far more objects and
            lists than so many rows have.
    """
    check_row_count((body.count(b"{") + body.count(b"[") - SPARE_BRACKETS) // 2, limit=max_rows)
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise HTTPException(400, f"The body must be JSON; got {error}") from error
    if type(content) is not dict or type(content.get("rows")) is not list or len(content) != 1:
        reason = 'The body must be an object with a list of rows: {"rows": [{"column": value, ...}]}'
        raise HTTPException(422, reason)
    rows: list[Any] = content["rows"]
    check_row_count(len(rows), limit=max_rows)
    return rows

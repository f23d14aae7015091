"""Read the body of a request: in which form it comes, how large it is, which rows a JSON object gives."""

import gzip
import io
import json
import zlib
from typing import Any

import orjson
from fastapi import Request
from starlette.exceptions import HTTPException

from canopy.schema.columns import first_repeated
from canopy.serve.problems import BodyTooLarge, Problem, RowsRefused, named

# Brackets that a body may have besides two for each row; each makes an object, millions make gigabytes.
SPARE_BRACKETS = 1000

GZIP = b"\x1f\x8b"


async def read_body(request: Request, *, kind: str) -> tuple[bytes, bool]:
    """Read the body of a request.

    Args:
        request: The request.
        kind: What the body must be, for messages.

    Returns:
        The body, and whether it is compressed by gzip.

    Raises:
        HTTPException: If there is none, or it comes in a form that is not read.
    """
    headers = dict(request.scope["headers"])
    if headers.get(b"content-type", b"").lower().startswith(b"multipart/"):
        raise HTTPException(
            415, f"The body must be {kind}; got a form (multipart): send the content itself, without a form"
        )
    encoding = headers.get(b"content-encoding", b"").strip().lower()
    if encoding not in (b"", b"identity", b"gzip", b"x-gzip"):
        raise HTTPException(
            415,
            f"The Content-Encoding must be gzip, or none; got {named(encoding.decode('latin-1'))}",
            headers={"Accept-Encoding": "gzip"},
        )
    body = await request.body()
    if not body or body.isspace():
        raise HTTPException(400, f"The body must be {kind}; got an empty body")
    is_compressed = encoding.endswith(b"gzip")
    if not is_compressed and body.startswith(GZIP):
        raise HTTPException(
            415, f"The body must be {kind}; got gzip data: send the header Content-Encoding: gzip with it"
        )
    return body, is_compressed


def decompress(body: bytes, *, limit: int) -> bytes:
    """Decompress a body, at most so many bytes of it.

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


def rows_of(body: bytes, *, limit: int) -> list[Any]:
    """Find the rows in the body of a request.

    Args:
        body: The body.
        limit: Most rows that it may have.

    Raises:
        HTTPException: If it is no JSON object with a list of rows, or holds far more objects and lists than
            so many rows have.
    """
    if body.count(b"{") + body.count(b"[") > 2 * limit + SPARE_BRACKETS:
        raise HTTPException(
            413, f"A request must have at most {limit:,} rows; got more objects or lists than those have"
        )
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise HTTPException(400, f"The body must be JSON; got {error}") from error
    if type(content) is not dict or type(content.get("rows")) is not list or len(content) != 1:
        raise HTTPException(
            422, 'The body must be an object with a list of rows: {"rows": [{"column": value, ...}]}'
        )
    rows: list[Any] = content["rows"]
    return rows


def refuse_repeated_keys(body: bytes, rows: list[dict[str, Any]]) -> None:
    """Refuse rows that name a field twice: of its values, only the last has been read.

    Args:
        body: The body of a request.
        rows: The rows that were read from it, without anything wrong.

    Raises:
        RowsRefused: If there is one.
    """
    # A colon for each key that was read, `rows` among them; others are in texts, or behind repeated keys.
    n_colons = body.count(b":") - 1
    if n_colons == sum(map(len, rows)):
        return
    # All in texts, none of them escaped there.
    if n_colons == orjson.dumps(rows).count(b":") and b"\\u003" not in body:
        return
    try:
        content = json.loads(body, object_pairs_hook=object_or_repeated_name)
    except RecursionError as error:
        # Values that count are not nested.
        raise RowsRefused([Problem(None, "the body", "name each field once", "one twice")]) from error
    for row, found in [(None, content), *enumerate([] if isinstance(content, str) else content["rows"])]:
        if isinstance(found, str):
            raise RowsRefused([Problem(row, named(found), "be named once", "it twice")])


def object_or_repeated_name(items: list[tuple[str, Any]]) -> dict[str, Any] | str:
    repeated = first_repeated([name for name, _ in items])
    return dict(items) if repeated is None else repeated

"""The OpenAPI document is true: what it allows is answered as it says, what it forbids is refused."""

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

import pytest
import requests


@pytest.mark.slow
def test_what_the_document_says_is_so(server: Any, schemathesis: Callable[[str], str]) -> None:
    assert "Tested: 8" in schemathesis(server.url)
    assert server.get("/health").status_code == 200


def test_the_document_s_examples_are_answered(server: Any) -> None:
    paths = server.get("/openapi.json").json()["paths"]
    asked = {path: operations["post"] for path, operations in paths.items() if "post" in operations}
    assert {*asked} == {"/predict", "/predict/csv", "/explain"}
    for path, operation in asked.items():
        ((kind, content),) = operation["requestBody"]["content"].items()
        answer = server.post(path, content["example"], headers={"Content-Type": kind})
        assert answer.status_code == 200, answer.text


def test_all_of_it_is_below_the_prefix_of_a_proxy(server: Any, prefixed: str) -> None:
    """Each address is put together as a browser or a client generator does."""
    found = set()
    for page in (f"{prefixed}/", f"{prefixed}/docs"):
        text = requests.get(page, timeout=10).text
        addresses = re.findall(r"""(?:href|src|url)[=:] ?["']([^"'#]+)["']""", text)
        found |= {urljoin(page, address) for address in addresses if not address.startswith("data:")}
    names = "docs openapi.json page.css page.js swagger/swagger-ui-bundle.js swagger/swagger-ui.css"
    assert found == {f"{prefixed}/{name}" for name in [*names.split(), "swagger/favicon-32x32.png"]}
    assert {requests.get(url, timeout=10).status_code for url in found} == {200}
    asked = set(re.findall(r"""ask\("([^"?]+)[^"]*\"""", server.get("/page.js").text))
    assert asked == {"model", "explain", "predict/csv", "drift"}
    document = requests.get(f"{prefixed}/openapi.json", timeout=10).json()
    (base,) = (urljoin(f"{prefixed}/openapi.json", item["url"]) for item in document["servers"])
    for path, operations in document["paths"].items():
        ((method, operation),) = operations.items()
        content = operation.get("requestBody", {}).get("content", {"": {"example": ""}})
        ((kind, body),) = content.items()
        data = body["example"] if isinstance(body["example"], str) else json.dumps(body["example"])
        url = f"{base.rstrip('/')}{path}"
        assert requests.request(method, url, data=data, headers={"Content-Type": kind}, timeout=10).ok, url

"""The OpenAPI document is true: what it allows is answered as it says, what it forbids is refused."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

import pytest


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


def test_all_addresses_are_below_the_prefix_of_a_proxy(server: Any) -> None:
    """Each address is put together as a browser or a client generator does; the proxy strips the prefix."""
    prefix, found = "http://proxy/models/fruit", set()
    for page in ("/", "/docs"):
        addresses = re.findall(r"""(?:href|src|url)[=:] ?["']([^"'#]+)["']""", server.get(page).text)
        found |= {urljoin(f"{prefix}{page}", item) for item in addresses if not item.startswith("data:")}
    names = "docs openapi.json page.css page.js swagger/swagger-ui-bundle.js swagger/swagger-ui.css"
    assert found == {f"{prefix}/{name}" for name in [*names.split(), "swagger/favicon-32x32.png"]}
    assert {server.get(url.removeprefix(prefix)).status_code for url in found} == {200}
    asked = set(re.findall(r"""ask\("([^"?]+)[^"]*\"""", server.get("/page.js").text))
    assert asked == {"model", "explain", "predict/csv", "drift"}
    (item,) = server.get("/openapi.json").json()["servers"]
    assert urljoin(f"{prefix}/openapi.json", item["url"]) == f"{prefix}/"

"""What the server answers, asked over a socket."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canopy.export.scorer import Scorer
from canopy.prepare.preprocessor import Inputs

ROW: dict[str, Any] = {"weight": 120.5, "size": 9, "colour1": 0, "colour2": 1, "colour3": 0}
SHORT = {"weight": 120.5, "size": 9, "colour": "colour2"}
HEADER = "size,weight,colour1,colour2,colour3"


def test_predictions_are_the_bundle_s(server: Any, bundle: Path) -> None:
    scorer = Scorer(bundle)
    codes, _ = scorer.manifest.preprocessor.categorical["colour"].encode(pa.array(["colour2"]))
    (expected,) = scorer.predict(Inputs(np.array([[120.5, 9.0]]), codes[None, :])).tolist()
    first, second = server.post("/predict", {"rows": [ROW, SHORT]}).json()["predictions"]
    assert first == second
    best = int(np.argmax(expected))
    assert (first["label"], first["class"]) == (str(best + 1), ["Apple", "Pear", "Plum"][best])
    shares = dict(zip(["Apple", "Pear", "Plum"], expected, strict=True))
    assert first["probabilities"] == pytest.approx(shares, abs=1e-6)
    table = server.post("/predict/csv", "colour,size,weight,kind\ncolour2,9,120.5,1\n")
    assert table.headers["content-type"].startswith("text/csv")
    (line,) = csv.DictReader(io.StringIO(table.text))
    assert (line["label"], line["class"]) == (first["label"], first["class"])
    assert {name: float(line[f"probability_{name}"]) for name in shares} == pytest.approx(shares, abs=1e-6)
    about, reported = json.loads((bundle / "model.json").read_text()), server.get("/model").json()
    assert [reported[name] for name in ("table", "metrics")] == [about["table"], about["metrics"]]


def test_labelled_csv_rows_are_scored_and_further_columns_ignored_with_a_note(server: Any) -> None:
    plain = server.post("/predict/csv", f"{HEADER}\n9,120,0,1,0\n")
    assert not {"x-ignored-columns", "x-labelled-rows"} & {*plain.headers}
    (label,) = (line["label"] for line in csv.DictReader(io.StringIO(plain.text)))
    values = (label, f"{label}.0", "1" if label == "2" else "2", "", "fig")
    lines = [f"höhe,{HEADER},kind", *(f"x,9,120,0,1,0,{value}" for value in values)]
    answer = server.post("/predict/csv", "\n".join(lines).encode())
    assert {line["label"] for line in csv.DictReader(io.StringIO(answer.text))} == {label}
    assert (answer.headers["x-labelled-rows"], answer.headers["x-correct-rows"]) == ("3", "2")
    assert json.loads(answer.headers["x-ignored-columns"]) == ["höhe"]


def test_invalid_csv_rows_are_rejected_one_by_one_on_request(server: Any) -> None:
    for lines, n_rejected in (["9,heavy,0,1,0", "9,120,0,1,0", "9,120"], 2), (["9"], 1):
        answer = server.post("/predict/csv?on_error=reject_row", "\n".join([HEADER, *lines]))
        assert (answer.status_code, answer.headers["x-rejected-rows"]) == (200, str(n_rejected))
        assert answer.text.count("must") == n_rejected


# What is sent, field, requirement, what was found.
BAD_ROWS: list[tuple[object, str, str, str]] = [
    ({**ROW, "height": 3}, "height", "be a column of the table", "an unknown field"),
    ({**SHORT, "colour1": 1}, "colour1", "that is not given already", "an unknown field"),
    ({key: value for key, value in ROW.items() if key != "colour3"}, "colour3", "be 0 or 1", "None"),
    ({"weight": 120.5, "size": 9}, "colour", "have a value in every row", "none"),
    ({**ROW, "size": "9"}, "size", "be a number", "'9'"),
    ({**ROW, "size": True}, "size", "be a number", "True"),
    ({**ROW, "size": [9]}, "size", "be a number", "[9]"),
    ({**ROW, "size": "x" * 500}, "size", "be a number", "xxx..."),
    ({**ROW, "size": 1e6}, "size", "be from 0 to 100 cm", "1000000.0"),
    ({**ROW, "size": 1e300}, "size", "fit into single precision", "1e+300"),
    ({**ROW, "colour2": 0.5}, "colour2", "be 0 or 1", "0.5"),
    ({**ROW, "colour1": 1}, "colour", "have exactly one column that is 1", "2"),
    ({**ROW, "colour2": 0}, "colour", "have a value in every row", "none"),
    ([1, 2], "", "be an object with a value for each column", "[1, 2]"),
]


@pytest.mark.parametrize(("row", "field", "requirement", "found"), BAD_ROWS, ids=str)
def test_a_wrong_row_is_named(server: Any, row: object, field: str, requirement: str, found: str) -> None:
    answer = server.post("/predict", {"rows": [ROW, row]})
    assert answer.status_code == 422
    problem = answer.json()["problems"][0]
    assert (problem["row"], problem["field"]) == (1, field)
    assert requirement in problem["requirement"]
    assert found in problem["found"]
    assert server.post("/explain", {"rows": [row]}).status_code == 422


GZIP = {"Content-Encoding": "gzip"}
PACKED = gzip.compress(json.dumps({"rows": [ROW]}).encode(), mtime=0)
# Path, body, status, message, headers.
BAD_BODIES: list[tuple[str, object, int, str, dict[str, str]]] = [
    ("/predict", b"", 400, "must hold rows; got an empty body", {}),
    ("/predict/csv", b" \n", 400, "got an empty body", {}),
    ("/predict", b"{", 400, "must be JSON", {}),
    ("/predict", b'{"rows": [{"size": NaN}]}', 400, "must be JSON", {}),
    ("/predict", b"\xff\xfe", 400, "must be JSON", {}),
    ("/predict", [ROW], 422, "an object with a list of rows", {}),
    ("/predict", {"rows": [ROW], "more": 1}, 422, "an object with a list of rows", {}),
    ("/predict", {"rows": []}, 422, "rows must be a list of at least one row; got an empty list", {}),
    ("/predict", {"rows": [SHORT] * 51}, 413, "at most 50 rows; got 51", {}),
    ("/predict", b" " * 20_001, 413, "at most 20,000 bytes", {}),
    ("/predict", b'{"rows": [' + b"[]," * 1200 + b"[]]}", 413, "at most 50 rows; got 101", {}),
    ("/predict", b'{"rows": [' + b"[" * 990 + b"]" * 990 + b"]}", 422, "an object with a value", {}),
    ("/predict", b'{"rows": [{"weight": ' + b"[" * 990 + b"]" * 990 + b"}]}", 422, "be a number", {}),
    ("/explain", {"rows": [ROW, ROW]}, 413, "at most 1 rows; got 2", {}),
    ("/predict/csv", f"{HEADER}\n", 422, "got", {}),
    ("/predict/csv", b"\xff\xfes\x00i\x00", 400, "must be CSV in utf-8; got other bytes", {}),
    ("/predict/csv", f"{HEADER}\n9,heavy,0,1,0\n", 422, "weight must be a number; got 'heavy'", {}),
    ("/predict/csv", f"{HEADER}\n9,120\n", 422, "row 0: the row must have as many values", {}),
    ("/predict/csv?on_error=no", f"{HEADER}\n", 422, "must be reject_file or reject_row; got no", {}),
    ("/predict/csv", f"{HEADER}\n9,inf,0,1,0\n", 422, "weight must be a finite number; got 'inf'", {}),
    ("/predict", PACKED, 415, "must be gzip, or none; got br", {"Content-Encoding": "br"}),
    ("/predict", b"{}", 400, "must be gzip data, as Content-Encoding says; got Not a gz", GZIP),
    ("/predict", PACKED[:-9], 400, "as Content-Encoding says; got Compressed file ended", GZIP),
    ("/predict", PACKED[:20] + b"x" + PACKED[21:], 400, "as Content-Encoding says", GZIP),
    # Far more than the server reads, in less than it does.
    ("/predict/csv", gzip.compress(b" " * 15_000_000, mtime=0), 413, "at most 20,000 bytes", GZIP),
]


@pytest.mark.parametrize(
    ("path", "body", "status", "message", "headers"), BAD_BODIES, ids=lambda value: str(value)[:60]
)
def test_a_wrong_body_is_told(
    server: Any, path: str, body: object, status: int, message: str, headers: dict[str, str]
) -> None:
    answer = server.post(path, body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert message in answer.json()["error"]


@pytest.mark.parametrize("path", ["/predict", "/explain", "/predict/csv"])
def test_a_body_compressed_by_gzip_is_read(server: Any, path: str) -> None:
    text = f"{HEADER}\n9,120.5,0,1,0\n" if path == "/predict/csv" else json.dumps({"rows": [ROW]})
    body = text.encode()
    plain = server.post(path, body)
    # Two members of one file, as tools that append leave it.
    packed = gzip.compress(body[:20], mtime=0) + gzip.compress(body[20:])
    answer = server.post(path, packed, headers=GZIP)
    assert (plain.status_code, answer.status_code, answer.content) == (200, 200, plain.content)


def test_what_is_not_there_is_told(server: Any) -> None:
    for path, status in (("/no", 404), ("/predict", 405), ("/../params.yaml", 404)):
        answer = server.get(path)
        message = "Not Found" if status == 404 else "Method Not Allowed"
        assert (answer.status_code, answer.json()) == (status, {"error": message})


def test_a_body_without_a_length_is_not_read_beyond_the_limit(server: Any) -> None:
    answer = requests.post(f"{server.url}/predict", data=(b" " * 1000 for _ in range(100)), timeout=10)
    assert answer.status_code == 413


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary() | st.text().map(lambda text: f"{HEADER}\n{text}".encode("utf-8", "replace")))
def test_no_csv_is_an_error_of_the_server(server: Any, body: bytes) -> None:
    assert server.post("/predict/csv", body).status_code in (200, 400, 413, 422)

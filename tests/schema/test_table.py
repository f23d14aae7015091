"""The schema of a table: what params.yaml may declare, and what its errors say."""

from typing import Any

import pytest

from canopy.schema import TableSchema

NUMBER, CATEGORY = {"kind": "numeric"}, {"kind": "categorical"}


def columns(**declared: Any) -> dict[str, Any]:
    return {"target": {"column": "y"}, "columns": declared}


def classes(names: dict[Any, str]) -> dict[str, Any]:
    return {"target": {"column": "y", "classes": names, "rare": "merge"}}


def test_policies_come_from_the_column_then_the_defaults_then_the_strict_ones() -> None:
    schema = TableSchema.parse(
        columns(a={**NUMBER, "missing": "mean"}, b=NUMBER, c=CATEGORY)
        | {"defaults": {"numeric": {"missing": "median"}}}
    )
    assert [column.missing for column in schema.numeric.values()] == ["mean", "median"]
    assert schema.numeric["b"].out_of_range == "reject"
    assert (schema.categorical["c"].missing, schema.categorical["c"].unseen) == ("reject", "other")


def test_integers_of_yaml_are_read_as_texts() -> None:
    schema = TableSchema.parse(columns(a=NUMBER) | classes({1: "Fir", "2": "Pine"}))
    assert schema.target.classes == {"1": "Fir", "2": "Pine"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"columns": {"a": NUMBER}}, r"table\.target: Field required"),
        (columns(a={"kind": "key"}), "at least one numeric, categorical or datetime column; got none"),
        (columns(y=NUMBER), "each column once; got 'y' twice"),
        (columns(when={"kind": "datetime"}, **{"when.hour": NUMBER}), r"part of .*; got 'when\.hour'"),
        (columns(a=NUMBER, b={**CATEGORY, "one_hot": {"a": "A", "c": "C"}}), "got 'a' twice"),
        (columns(a={**NUMBER, "rnage": [0, 1]}), r"table\.columns\.a\.rnage: .* \(did you mean 'range'\?\)"),
        (columns(a={"kind": "weights"}), r"table\.columns\.a: .*'weights' .* expected tags: 'numeric'"),
        (columns(a={**NUMBER, "range": [2, 1]}), r"a\.range: must be \[least, greatest\].*; got \[2"),
        (columns(a={**NUMBER, "missing": "medain"}), r"a\.missing: must be 'reject', .*; got 'medain'"),
        (columns(a={**CATEGORY, "categories": {True: "a"}}), "must be in quotes.*; got True"),
        (columns(a={**CATEGORY, "categories": {1.5: "a"}}), "must be in quotes.*; got 1.5"),
        (columns(a={**CATEGORY, "one_hot": {"x": "a"}}), r"a\.one_hot: .* at least 2 items .*not 1"),
        (columns(a={"kind": "datetime", "parts": ["week"]}), "must be 'year', .*; got 'week'"),
        (
            columns(a=NUMBER) | {"target": {"column": "y", "classes": {1: "a", 2: "b"}, "keep": [1, 3]}},
            "keep must name values of classes; got '3'",
        ),
        (columns(a=NUMBER) | classes({1: "a"}), "at least two classes; got 1"),
        (columns(a=NUMBER) | classes({1: "a", "other": "b"}), "merged_name must not .*; got 'other'"),
        (columns(a=NUMBER) | {"file": {"encoding": "utf-99"}}, "an encoding that Python knows; got 'utf-99'"),
        (columns(a=NUMBER) | {"file": {"decimal": ",", "thousands": ","}}, "different decimal and thousands"),
    ],
)
def test_a_mistake_is_named_with_key_requirement_and_value(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        TableSchema.parse(table)
    assert len(str(caught.value).splitlines()) <= 2

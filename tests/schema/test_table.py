"""The schema of a table: what params.yaml may declare, and what its errors say."""

from typing import Any

import pytest

from canopy.schema import TableSchema

TARGET = {"column": "y"}
NUMBER = {"kind": "numeric"}


def columns(**declared: Any) -> dict[str, Any]:
    return {"target": TARGET, "columns": declared}


def test_policies_come_from_the_column_then_the_defaults_then_the_strict_ones() -> None:
    schema = TableSchema.parse(
        columns(a={**NUMBER, "missing": "mean"}, b=NUMBER, c={"kind": "categorical"})
        | {"defaults": {"numeric": {"missing": "median"}}}
    )
    assert [column.missing for column in schema.numeric.values()] == ["mean", "median"]
    assert schema.numeric["b"].out_of_range == "reject"
    assert (schema.categorical["c"].missing, schema.categorical["c"].unseen) == ("reject", "other")


def test_a_group_of_0_1_columns_is_one_column() -> None:
    schema = TableSchema.parse(columns(soil={"kind": "categorical", "one_hot": {"s1": "Clay", "s2": "Sand"}}))
    assert schema.features == ["soil"]
    assert schema.file_columns("soil") == ["s1", "s2"]


def test_integers_of_yaml_are_read_as_texts() -> None:
    target = {"column": "y", "classes": {1: "Fir", "2": "Pine"}}
    schema = TableSchema.parse({**columns(a=NUMBER), "target": target})
    assert schema.target.classes == {"1": "Fir", "2": "Pine"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"columns": {"a": NUMBER}}, r"must set table\.target; got none"),
        ({"target": TARGET}, r"must set table\.columns; got none"),
        (columns(), "at least one numeric, categorical or datetime column; got none"),
        (columns(a={"kind": "key"}), "at least one numeric, categorical or datetime column; got none"),
        (columns(y=NUMBER), "each column once; got 'y' twice"),
        (
            columns(when={"kind": "datetime"}, **{"when.hour": NUMBER}),
            r"no column the name of a part of a datetime column; got 'when\.hour'",
        ),
        (columns(a=NUMBER, b={"kind": "categorical", "one_hot": {"a": "A", "c": "C"}}), "got 'a' twice"),
        (columns(a={**NUMBER, "rnage": [0, 1]}), r"table\.columns\.a\.rnage \(did you mean 'range'\?\)"),
        (columns(a={"kind": "weight"}), r"columns\.a\.kind must be numeric, .*'weight' \(reserved"),
        (columns(a={}), r"columns\.a\.kind must be numeric, .*; got None"),
        (columns(a={**NUMBER, "range": [2, 1]}), r"columns\.a\.range must give \[least, greatest\]"),
        (
            columns(a={**NUMBER, "missing": "medain"}),
            r"columns\.a\.missing must be 'reject', .*; got 'medain'",
        ),
        (columns(a={"kind": "categorical", "categories": {True: "a"}}), "this word in quotes; got True"),
        (columns(a={"kind": "categorical", "categories": {1.5: "a"}}), "in quotes; got the number 1.5"),
        (columns(a={"kind": "categorical", "one_hot": {"x": "a"}}), "at least two columns in one_hot; got 1"),
        (columns(a={"kind": "datetime", "parts": ["week"]}), "must be 'year', .*; got 'week'"),
        (columns(a=NUMBER) | {"target": {"column": "y", "classes": {1: "a"}}}, "at least two classes; got 1"),
        (columns(a=NUMBER) | {"file": {"decimal": ",", "thousands": ","}}, "different decimal and thousands"),
        (
            columns(a=NUMBER) | {"duplicates": "keep"},
            r"table\.duplicates must be 'report' or 'drop'; got 'keep'",
        ),
    ],
)
def test_a_mistake_is_named_with_key_requirement_and_value(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        TableSchema.parse(table)
    assert len(str(caught.value).splitlines()) <= 2

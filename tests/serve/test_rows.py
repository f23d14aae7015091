"""What is said of rows that are wrong: all of it, soon, and nothing of rows that are right."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from canopy.table.columns import NumericColumn, OneHotGroup, gap_group, text_group
from canopy.table.spec import TableSpec
from hypothesis import given, settings
from hypothesis import strategies as st

from canopy.serve import inspector
from canopy.serve.csv_rows import rows_from_csv
from canopy.serve.problems import MAX_PROBLEMS, RowsRefused
from canopy.serve.rows import RowReader

AGE = NumericColumn(name="age", unit="years", meaning="Age", low=0, high=100, missing="median")
SIZE = NumericColumn(name="size", unit="cm", meaning="Size", low=1, high=9)
COLOUR = OneHotGroup(name="colour", meaning="Colour", columns={"colour1": "red", "colour2": "blue"})
ISLAND = text_group("island", "Island", {"Dream": "Dream"}, own_category=True)
CLASSES = {1: "Apple", 2: "Pear"}
PLAIN = TableSpec(target="kind", classes=CLASSES, numeric=(SIZE,), groups=(COLOUR,))
MIXED = TableSpec(
    target="kind", classes=CLASSES, numeric=(AGE, SIZE), groups=(gap_group(AGE), COLOUR, ISLAND)
)


def problems_of(reader: RowReader, *rows: Any) -> list[tuple[int | None, str, str]]:
    with pytest.raises(RowsRefused) as refused:
        reader.from_mappings(rows)
    return [(problem.row, problem.field, problem.found) for problem in refused.value.problems]


def test_each_wrong_field_of_each_row_is_named() -> None:
    right = {"size": 2, "colour": "colour1"}
    first = {"size": "big", "colour1": 2, "colour2": True, "height": 3}
    second = {"size": 10, "colour": "green"}
    assert problems_of(RowReader(PLAIN), right, first, right, second, {}) == [
        (1, "size", '"big"'),
        (1, "colour1", "2"),
        (1, "colour2", "true"),
        (1, "height", "an unknown field"),
        (3, "size", "10"),
        (3, "colour", '"green"'),
        (4, "size", "no such field"),
        (4, "colour", "no such field"),
    ]


def test_each_wrong_value_of_a_file_is_named() -> None:
    reader = RowReader(PLAIN)
    with pytest.raises(RowsRefused) as refused:
        rows_from_csv("size,colour1,colour2\nbig,1,0\n2,1,0\n10,1_0,0\n,1,1\n", reader)
    told = [(problem.row, problem.field, problem.found) for problem in refused.value.problems]
    assert told == [
        (0, "size", '"big"'),
        (2, "size", "10"),
        (2, "colour1", '"1_0"'),
        (3, "size", '""'),
        (3, "colour", "2 that are 1"),
    ]
    assert str(refused.value) == 'row 0: size must be a number; found "big" (4 more)'


def test_a_file_may_give_a_group_by_its_name() -> None:
    whole = rows_from_csv("size,colour1,colour2\n2,1,0\n3,0,1\n", RowReader(PLAIN))
    short = rows_from_csv("colour,kind,size\ncolour1,1,2\ncolour2,2,3\n", RowReader(PLAIN))
    np.testing.assert_array_equal(short, whole)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("size", "colour must be a column of the header, or its 2 columns; found no such column"),
        ("size,colour1", "colour2 must be a column of the header; found no such column"),
        ("size,colour,colour1", "colour1 must be left out where colour is given; found it in the header"),
        ("size,colour,colour", "colour must be named once in the header; found it 2 times"),
        ("colour", "size must be a column of the header; found no such column"),
        ("sise,colour", r"size must be .* \(1 more\)"),
    ],
)
def test_a_header_that_is_wrong_is_told(header: str, message: str) -> None:
    with pytest.raises(RowsRefused, match=f"^{message}$"):
        rows_from_csv(f"{header}\n1,1,1\n", RowReader(PLAIN))


def test_too_many_lines_are_refused_before_they_are_read() -> None:
    told: list[int] = []

    def refuse(n_rows: int) -> None:
        told.append(n_rows)
        raise PermissionError

    with pytest.raises(PermissionError):
        rows_from_csv("size,colour\n2,colour1\n\n3,colour1", RowReader(PLAIN), check_count=refuse)
    assert told == [2]


def test_lines_with_too_few_values_are_named() -> None:
    with pytest.raises(RowsRefused, match=r"row 1 must be .* each of 3 columns; found 2"):
        rows_from_csv("size,colour1,colour2\n2,1,0\n2,1\n", RowReader(PLAIN))


@pytest.mark.parametrize("table", [PLAIN, MIXED], ids=["numbers", "texts"])
def test_a_value_that_is_too_long_for_csv_is_told(table: TableSpec) -> None:
    header = ",".join(table.raw_features)
    text = f"{header}\n" + ",".join(["x" * 200_000] * len(table.raw_features)) + "\n"
    with pytest.raises(RowsRefused, match="row 0 must be a line of CSV; found .*field larger than"):
        rows_from_csv(text, RowReader(table))


@pytest.mark.parametrize("value", [1e-300, 5e-324, 1 - 1e-16, 0.5, -1e-300])
def test_a_one_hot_column_is_0_or_1_to_the_last_bit(value: float) -> None:
    row = {"size": 2, "colour1": 1, "colour2": value}
    assert problems_of(RowReader(PLAIN), row) == [(0, "colour2", f"{value:g}")]


def test_rows_without_a_value_are_read_where_the_table_allows_it() -> None:
    row = {"age": None, "size": 2, "colour": "colour2", "island": None}
    found = RowReader(MIXED).from_mappings([row, {**row, "age": 3, "island": "Dream"}])
    assert np.isnan(found[0, 0])
    assert found[0, 1:].tolist() == [2, 0, 1, 0, 1]
    assert found[1].tolist() == [3, 2, 0, 1, 1, 0]
    text = "age,size,colour1,colour2,island\n,2,0,1,\n3,2,0,1,Dream\n"
    np.testing.assert_array_equal(rows_from_csv(text, RowReader(MIXED)), found)


def test_names_that_a_client_makes_up_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    monkeypatch.setattr(inspector, "nearest", lambda name, _: compared.append(name) or "")
    reader = RowReader(PLAIN)
    made_up = {f"name{number}": 1 for number in range(10_000)}
    assert len(problems_of(reader, *[made_up] * 3)) == MAX_PROBLEMS
    assert len(problems_of(reader, {"size": 2, "colour": "x" * 100_000})) == 1
    with pytest.raises(RowsRefused):
        rows_from_csv(",".join(made_up) + "\n", reader)
    assert 0 < len(compared) <= 2 * MAX_PROBLEMS
    assert max(map(len, compared)) < 100


ANYTHING = (
    st.none() | st.booleans() | st.sampled_from([0, 1, 2, 0.5, 1e-320, "Dream", "", "colour1"]) | st.floats()
)
NAMES = [*MIXED.inputs, "colour", "island", "height"]


@settings(deadline=None)
@given(rows=st.lists(st.dictionaries(st.sampled_from(NAMES), ANYTHING) | ANYTHING, min_size=1, max_size=4))
def test_rows_are_read_or_something_is_wrong_with_them(rows: list[Any]) -> None:
    reader = RowReader(MIXED)
    try:
        found = reader.from_mappings(rows)
    except RowsRefused as refused:
        told = {problem.row for problem in refused.problems}
        assert told
        assert told <= {*range(len(rows))}
        return
    assert found.shape == (len(rows), len(MIXED.inputs))
    np.testing.assert_array_equal(reader.check(found), found)
    assert all(isinstance(row, Mapping) for row in rows)

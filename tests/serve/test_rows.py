"""Rows of JSON and CSV: what is read, which policies hold, and how problems are named."""

import math
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from canopy.export.statistics import NumericStatistics
from canopy.prepare.interim import closed_schema
from canopy.prepare.preprocessor import Inputs, Preprocessor, Vocabulary
from canopy.prepare.scaling import Affine
from canopy.schema import TableSchema
from canopy.serve.csv_rows import CsvRows, read_csv
from canopy.serve.explain import N_VALUES, draw
from canopy.serve.problems import MAX_PROBLEMS, RowsRefused, first_problems
from canopy.serve.rows import RowReader
from canopy.tasks.answers import ClassAnswers

SIZE = {"kind": "numeric", "unit": "cm", "range": [1, 9]}
AGE = {"kind": "numeric", "unit": "years", "range": [0, 100], "missing": "median"}
COLOUR = {"kind": "categorical", "one_hot": {"colour1": "red", "colour2": "blue"}}
ISLAND = {"kind": "categorical", "categories": {"Dream": "Dream"}, "missing": "category"}
STORE = {"kind": "categorical"}
VALUES = {"colour": ("colour1", "colour2"), "island": ("Dream",), "store": ("1", "2", "yes", "TRUE")}


def make_reader(columns: dict[str, Any], **table: Any) -> RowReader:
    schema = TableSchema.parse({"target": {"column": "kind"}, "columns": columns, **table})
    scaling = Affine(method="none", center=0, scale=1, fill=0)
    preprocessor = Preprocessor(
        numeric=dict.fromkeys(schema.numeric, scaling),
        datetime={name: dict.fromkeys(("year", "hour", "time"), scaling) for name in schema.datetime},
        categorical={
            name: Vocabulary(values=VALUES[name], has_missing=column.missing == "category")
            for name, column in schema.categorical.items()
        },
        indicators=(),
        classes=("1", "2"),
    )
    return RowReader(closed_schema(schema, preprocessor), preprocessor)


PLAIN = make_reader({"size": SIZE, "colour": COLOUR})
KEYED = make_reader({"id": {"kind": "key"}, "size": SIZE})
MIXED = make_reader({"age": AGE, "size": SIZE, "colour": COLOUR, "island": ISLAND, "store": STORE})


def problems_of(reader: RowReader, *rows: Any) -> list[tuple[int | None, str, str]]:
    with pytest.raises(RowsRefused) as refused:
        reader.check(rows)
    return [(problem.row, problem.field, problem.found) for problem in refused.value.problems]


def csv_of(text: str, reader: RowReader = PLAIN) -> CsvRows:
    return read_csv(text, reader, max_rows=100)


def read_valid(text: str, reader: RowReader = PLAIN) -> Inputs:
    parsed = csv_of(text, reader).parsed
    assert parsed.violations == []
    return reader._preprocessor.inputs(parsed.rows)


def check_equal(found: Inputs, expected: Inputs) -> None:
    np.testing.assert_array_equal(found.numeric, expected.numeric)
    np.testing.assert_array_equal(found.categorical, expected.categorical)


def test_each_wrong_field_of_each_row_is_named() -> None:
    right = {"size": 2, "colour": "colour1"}
    first = {"size": "big", "colour1": 2, "colour2": True, "height": 3}
    assert problems_of(PLAIN, right, first, right, {"size": 10, "colour": "green"}, {}) == [
        *((1, "size", "'big'"), (1, "colour2", "True"), (1, "height", "an unknown field")),
        *((1, "colour1", "2.0"), (3, "colour", "'green'"), (3, "size", "10.0")),
        *((4, "size", "none"), (4, "colour", "none")),
    ]
    assert len(problems_of(PLAIN, *[{f"name{number}": 1 for number in range(10_000)}] * 3)) == MAX_PROBLEMS


def test_each_wrong_value_of_a_csv_body_is_named() -> None:
    found = csv_of("size,colour1,colour2\nbig,1,0\n2,1,0\n10,1_0,0\n2\n,1,1\n").parsed.violations
    refused = RowsRefused(first_problems(found))
    assert refused.detail == "row 0: size must be a number; got 'big' (5 more)"
    assert [(problem.row, str(problem)) for problem in refused.problems[1:]] == [
        (2, "size must be from 1 to 9 cm; got '10'"),
        (2, "colour1 must be 0 or 1; got '1_0'"),
        (3, "the row must have as many values as the header has names; got '2'"),
        (4, "size must have a value in every row; got none"),
        (4, "colour must have exactly one column that is 1; got 2"),
    ]


def test_a_csv_body_may_have_the_dialect_of_the_table() -> None:
    dialect = {"delimiter": ";", "decimal": ",", "quote": "'"}
    reader = make_reader({"size": SIZE, "store": STORE}, file=dialect)
    own = read_valid("size;store\n2,5;'1'\n", reader)
    assert own.numeric.tolist() == [[2.5]]
    check_equal(read_valid('store,size\n"1",2.5\n', reader), own)
    check_equal(reader.read([{"size": 2.5, "store": 1}]), own)


def test_csv_values_may_hold_line_breaks_and_delimiters() -> None:
    found = csv_of('\ufeffid,size,"a, b\nc"\r\n"x\n""y"", z",2,1\r\n\r\nw,3,1\r\n5" pipe,3,1\r\n', KEYED)
    assert found.parsed.rows["id"].to_pylist() == ['x\n"y", z', "w", '5" pipe']
    assert (found.parsed.violations, found.ignored) == ([], ["a, b\nc"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size\n1", "colour must be given in the header, or all of its 0/1 columns; got no such column"),
        ("size,colour,colour\n1,1,1", "each name once; got 'colour' twice"),
        (",".join("abc" * 3334), "at most 10,000 columns, each name once; got more than 10,000"),
        ("\n1", r"size must be .* \(1 more\)"),
        ("size,colour\n" + "2\n" * 101, "at most 100 rows; got 101"),
        ('size,colour\n3,"colour1\n4,colour1\n', "the body must be CSV; got unexpected end of data"),
        ("size,colour\n" + "2,colour1\n" * 101, "at most 100 rows; got 101"),
    ],
)
def test_csv_of_another_form_is_refused(text: str, message: str) -> None:
    with pytest.raises(HTTPException, match=message):
        csv_of(text)


def test_rejected_csv_rows_keep_their_places() -> None:
    found = csv_of('id,size\na,2\n\nb,x\nc\nd,3\n"e\n",4,5\n', KEYED)
    shares, answers = np.array([[0.25, 0.75], [1, 0]], np.float32), ClassAnswers({"1": "Apple", "2": "Pear"})
    header, first, second = found.write(shares, answers, all_rows=False).decode().splitlines()
    assert header == '"id","label","class","probability_Apple","probability_Pear"'
    assert (first, second) == ('"a","2","Pear",0.25,0.75', '"d","1","Apple",1,0')
    form = "the row must have as many values as the header has names"
    assert found.write(shares, answers, all_rows=True).decode().splitlines() == [
        f'{header},"problem"',
        f"{first},",
        '"b",,,,,"size must be a number; got \'x\'"',
        f",,,,,\"{form}; got 'c'\"",
        f"{second},",
        f',,,,,"{form}; got \'""e\\n"",4,5\'"',
    ]


def test_missing_values_are_read_where_the_policy_allows_them() -> None:
    row = {"age": None, "size": 2, "colour": "colour2", "island": None, "store": "2"}
    full = {**row, "age": 3, "island": "Dream"}
    found = MIXED.read([row, full])
    check_equal(found, Inputs(np.array([[math.nan, 2], [3, 2]]), np.array([[1, 1, 1], [1, 0, 1]])))
    without = {name: value for name, value in row.items() if value is not None}
    check_equal(MIXED.read([without, full]), found)
    text = "age,size,colour1,colour2,island,store\n,2,0,1,,2\n3,2,0,1,Dream,2.0\n"
    check_equal(read_valid(text, MIXED), found)
    wrong = [{**row, "size": None}, {**row, "colour": None}, {**row, "store": ""}]
    expected = [(0, "size", "none"), (1, "colour", "none"), (2, "store", "none")]
    assert problems_of(MIXED, *wrong) == expected


def test_categories_may_be_numbers_and_booleans() -> None:
    row = {"age": 1, "size": 2, "colour": "colour1", "island": "Dream"}
    values = ["2", 2, 2.0, True, "yes", "no", 7, False]
    codes = MIXED.read([{**row, "store": value} for value in values]).categorical[:, 2]
    assert codes.tolist() == [1, 1, 1, 3, 2, 4, 4, 4]
    assert problems_of(MIXED, {**row, "store": [2]}) == [(0, "store", "[2]")]


def test_numbers_out_of_range_and_unseen_categories_follow_the_policy() -> None:
    clip, missing = {"out_of_range": "clip"}, {"out_of_range": "missing", "missing": "mean"}
    for policy, found in ((clip, 9.0), (missing, math.nan)):
        reader = make_reader({"size": {**SIZE, **policy}})
        np.testing.assert_array_equal(reader.read([{"size": 10}]).numeric, [[found]])
    lenient, strict = (make_reader({"store": {**STORE, "unseen": policy}}) for policy in ("other", "reject"))
    assert lenient.read([{"store": "9"}]).categorical.tolist() == [[4]]
    assert strict.read([{"store": "2"}]).categorical.tolist() == [[1]]
    with pytest.raises(RowsRefused, match="store must be one of '1', '2', 'yes', 'TRUE'; got '9'"):
        strict.read([{"store": "9"}])


def test_columns_that_are_no_features_are_ignored() -> None:
    reader = make_reader({"id": {"kind": "key"}, "remark": {"kind": "ignored"}, "size": SIZE, "age": AGE})
    reader = RowReader(reader.schema, reader._preprocessor.model_copy(update={"numeric": {"size": 0}}))
    expected = reader.read([{"size": 2}])
    rows = [{"size": 2, "id": 7, "remark": None, "kind": "1", "age": "no longer used"}]
    check_equal(reader.read(rows), expected)
    check_equal(reader.check(rows), expected)


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        ("iso", ["2024-02-03T06:30", "2024-02-03 06:30:00", "2024-02-03T08:30+02:00", "2024-02-03T06:30Z"]),
        ("%d.%m.%Y %H:%M", ["03.02.2024 06:30", "2024-02-03T06:30", "2024-02-03T08:30:00+02:00"]),
        ("epoch", [1706941800, 1706941800.0, "1706941800", "2024-02-03T06:30"]),
    ],
)
def test_times_are_read_in_the_columns_format_and_by_iso_8601(form: str, texts: list[Any]) -> None:
    reader = make_reader({"day": {"kind": "datetime", "format": form, "missing": "median"}})
    days = 1706941800 / 86400
    found = reader.read([{"day": text} for text in (*texts, None)]).numeric
    np.testing.assert_allclose(found, [*([[2024, 6.5, days]] * len(texts)), [math.nan] * 3])
    assert problems_of(reader, {"day": "soon"}, {"day": True}) == [(0, "day", "'soon'"), (1, "day", "True")]


def test_drawn_values_have_the_shares_of_the_training_rows() -> None:
    found = NumericStatistics(min=0, max=8, mean=2, edges=[2, 4], shares=[0.5, 0.25, 0.25], missing=0.2)
    values, counts = np.unique(draw(found, 0), return_counts=True)
    np.testing.assert_array_equal(values, [1, 3, 6, math.nan])
    assert (counts / N_VALUES).tolist() == [0.4, 0.2, 0.2, 0.2]


ONES = [None, True, False, 0, 1, 2, 5, -9, 0.5, 1e-320, "Dream", "", "NA", "colour1", "1"]
SCALARS = st.sampled_from(ONES)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
ANYTHING = SCALARS | NUMBERS | st.lists(SCALARS, max_size=1)
NAMES = ["age", "size", "colour1", "colour2", "colour", "island", "store", "kind", "id", "free", "height"]
RIGHT = st.fixed_dictionaries(
    {
        "age": st.sampled_from([None, 0, 100, 5.5, 101, -9]),
        "size": st.sampled_from([1, 9, 2.5, 10, -9]),
        "free": NUMBERS | st.sampled_from([None, 0, -9, 1e39, -1e39]),
        "island": st.sampled_from([None, "Dream", "Other", ""]),
        "store": st.sampled_from(["1", 1, "yes", "TRUE", "x", 1.0, True, None]),
    },
    optional={"kind": SCALARS, "id": SCALARS},
)
COLOURS = st.sampled_from(
    [{"colour": "colour1"}, {"colour1": 1, "colour2": 0}, {"colour1": 0.0, "colour2": 1}, {"colour": "x"}, {}]
)
ROWS = st.builds(lambda row, colour: {**row, **colour}, RIGHT, COLOURS)
ONE = st.sampled_from
NUMERIC = st.builds(dict, missing=ONE(["reject", "mean"]), out_of_range=ONE(["reject", "clip", "missing"]))
CATEGORICAL = st.builds(dict, missing=ONE(["reject", "category"]), unseen=ONE(["reject", "other"]))
DEFAULTS = st.builds(dict, numeric=NUMERIC, categorical=CATEGORICAL)


@settings(deadline=None, max_examples=300)
@given(
    rows=st.lists(
        ROWS | st.dictionaries(st.sampled_from(NAMES), ANYTHING) | ANYTHING, min_size=1, max_size=3
    ),
    defaults=DEFAULTS,
    markers=st.sampled_from([["", "NA"], ["", "-9"], ["Dream"]]),
)
def test_the_fast_way_gives_what_the_validator_gives(
    rows: list[Any], defaults: dict[str, Any], markers: list[str]
) -> None:
    columns = {"id": {"kind": "key"}, "age": {**AGE, "missing": None}, "size": SIZE, "store": STORE}
    columns |= {"free": {"kind": "numeric"}, "island": {**ISLAND, "missing": None}, "colour": COLOUR}
    reader = make_reader(columns, defaults=defaults, file={"null_values": markers})
    found, expected = reader.read_known(rows), None
    # Nothing else is raised.
    with suppress(RowsRefused):
        expected = reader.check(rows)
        assert expected.numeric.shape == expected.categorical.shape == (len(rows), 3)
    if found is not None:
        check_equal(found, expected)

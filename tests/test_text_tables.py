from typing import Any

import pytest

from canopy.text_tables import format_column, render

ROW = ["a-name-that-is-never-cut", "word " * 30, "term " * 10, 0.97182]


@pytest.mark.parametrize("columns", [80, 120, 150])
def test_a_table_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    head, line = render(["name", "long", "longer", "score"], [ROW]).splitlines()
    assert len(head) == len(line) == columns
    assert line.startswith(ROW[0])
    assert line.endswith("0.9718")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        *(([0.01, 250.4], "0.01 250.4"), ([0.0031234, 23.5], "0.003123 23.5")),
        *(([1e-6, 0.0123456, None], "1e-06 0.01235 -"), ([0.25, 123456.75], "0.25 123457")),
        *(([9999.96, 0.5], "10000 0.5"), ([-0.00041234, 100.0], "-0.0004123 100")),
        # Nothing is lost with the same number of decimals.
        *(([0.0031, 0.5, 0.0], "0.0031 0.5000 0.0000"), ([123.456, 98765.4], "123 98765")),
        ([0.97182, 0.0312], "0.9718 0.0312"),
    ],
)
def test_each_number_of_a_column_keeps_its_significant_digits(values: list[Any], expected: str) -> None:
    assert " ".join(format_column(values)) == expected

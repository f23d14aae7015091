import pytest

from canopy.compare.tables import render

ROW = ["a-name-that-is-never-cut", "word " * 30, "term " * 10, 0.97182]


@pytest.mark.parametrize("columns", [80, 120, 150])
def test_a_table_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    head, line = render(["name", "long", "longer", "score"], [ROW]).splitlines()
    assert len(head) == len(line) == columns
    assert line.startswith(ROW[0])
    assert line.endswith("0.9718")


def test_without_a_terminal_a_table_has_a_width_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr("sys.__stdout__", None)
    head, _ = render(["name", "long", "longer", "score"], [ROW]).splitlines()
    assert len(head) == 120

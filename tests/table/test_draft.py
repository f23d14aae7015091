import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from canopy.params import check_params, load_params
from canopy.table.draft import draft_data_set
from canopy.table.spec import MISSING_VALUES, TableSpec
from odd_names import printable_names

# One that is no number keeps a column from being read as numbers.
values = st.lists(
    printable_names.filter(lambda text: text not in (*MISSING_VALUES, "-")),
    min_size=1,
    max_size=6,
    unique=True,
).map(lambda texts: [*texts, "plain text"])


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    columns=st.lists(printable_names, min_size=4, max_size=8, unique=True),
    texts=values,
    classes=values,
)
def test_drafted_description_has_the_names_of_the_table(
    columns: list[str], texts: list[str], classes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target, numeric, text, *others = columns
    rows = [
        [classes[row % len(classes)], str(row / 2), texts[row % len(texts)], *("7" for _ in others)]
        for row in range(14)
    ]
    with Path("table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    name = f"n{len(list(tmp_path.glob('datasets/*')))}"
    folder = draft_data_set(Path("table.csv"), target=target, name=name, missing_values=["-", "${none}"])
    loaded = load_params(folder)
    # As a run's config.yaml keeps it.
    for params in (loaded, OmegaConf.create(OmegaConf.to_yaml(loaded))):
        spec = TableSpec.from_config(check_params(params).table)
        assert spec.target == target
        assert {*spec.classes.items()} == {(value, value) for value in classes}
        assert [(column.name, column.meaning) for column in spec.numeric] == [
            (name, name) for name in (numeric, *others)
        ]
        (group,) = spec.groups
        assert (group.name, group.meaning) == (text, text)
        assert {*group.columns.items()} == {(f"{text}={value}", value) for value in texts}
        assert spec.missing_values == (*MISSING_VALUES, "-", "${none}")

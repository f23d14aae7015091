from pathlib import Path

import pytest
from omegaconf import DictConfig

from canopy.prepare.interim import closed_schema, read_codes, table_schema
from canopy.prepare.preprocessor import Preprocessor, Vocabulary


@pytest.mark.parametrize(
    ("unseen", "learnt", "expected"),
    [
        ("reject", ("a", "b"), {"a": "a", "b": "b"}),
        ("other", ("a", "b"), "auto"),
        # A rare category is one of the others, which no list names.
        ("reject", ("a", "other"), "auto"),
    ],
)
def test_learnt_categories_are_listed_where_others_are_rejected(
    small_params: DictConfig, unseen: str, learnt: tuple[str, ...], expected: object
) -> None:
    small_params.table.columns.shape = {"kind": "categorical", "unseen": unseen}
    schema = table_schema(small_params)
    preprocessor = Preprocessor(
        numeric={},
        datetime={},
        categorical={"shape": Vocabulary(values=learnt), "colour": Vocabulary(values=("colour1",))},
        indicators=(),
        classes=("1", "2"),
    )
    found = closed_schema(schema, preprocessor).categorical
    assert found["shape"].categories == expected
    assert found["colour"] == schema.categorical["colour"]


def test_a_column_is_read_as_codes_in_the_smallest_type(tmp_path: Path) -> None:
    texts = [f"c{index % 200}" for index in range(1000)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b", *(f"{text},1" for text in texts)]) + "\n")
    codes, values = read_codes(tmp_path / "t.csv", "a")
    assert [values[code] for code in codes] == texts
    assert codes.dtype.itemsize == 2
    few, _ = read_codes(tmp_path / "t.csv", "b")
    assert few.dtype.itemsize == 1

from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig

from canopy.prepare import split
from canopy.prepare.split import split_rows

TRAIN, VAL, TEST = range(3)


def test_the_published_protocol_gives_its_counts() -> None:
    # Rows of each class of the whole table, by its data sheet; test rows by the published protocol.
    labels = np.repeat(np.arange(7), [211840, 283301, 35754, 2747, 9493, 17367, 20510])
    labels = np.random.default_rng(1).permutation(labels)
    codes = split_rows(labels, test_size=0.2, val_size=0.2, seed=42)
    assert np.bincount(codes).tolist() == [371847, 92962, 116203]
    assert np.bincount(labels[codes == TEST]).tolist() == [42368, 56661, 7151, 549, 1899, 3473, 4102]


def test_the_seed_decides() -> None:
    labels = np.arange(300) % 3
    first, again, other = (split_rows(labels, test_size=0.2, val_size=0.25, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert np.bincount(first).tolist() == [180, 60, 60]


@pytest.mark.parametrize("size", [0, 1, -0.1, 1.5])
def test_a_share_is_between_0_and_1(size: float) -> None:
    with pytest.raises(ValueError, match=f"split.val_size must be between 0 and 1; found {size}"):
        split_rows(np.arange(9) % 3, test_size=0.3, val_size=size, seed=0)


def test_a_class_needs_a_row_for_each_split() -> None:
    with pytest.raises(ValueError, match="at least 3 rows, one for each split; found class 5 with 2"):
        split_rows(np.array([4] * 50 + [5] * 2), test_size=0.2, val_size=0.2, seed=0)
    with pytest.raises(ValueError, match="a row in every split; found none of class 5 in val"):
        split_rows(np.array([4] * 500 + [5] * 3), test_size=0.1, val_size=0.1, seed=0)


def test_a_class_without_rows_is_refused(small_params: DictConfig) -> None:
    interim = Path(small_params.paths.interim)
    interim.mkdir()
    rows = [f"{i},{i},1,0,0,{1 + i % 2}" for i in range(20)]
    header = "weight,size,colour1,colour2,colour3,kind"
    (interim / "drop_columns.csv").write_text("\n".join([header, *rows]) + "\n")
    with pytest.raises(ValueError, match=r"must have rows; found none of 3 \(Plum\): take it out"):
        split.run(small_params)
    assert not (interim / "split.csv").exists()

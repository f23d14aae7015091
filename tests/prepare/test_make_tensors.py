import pyarrow as pa
import pytest
import torch
from canopy.table.spec import TableSpec
from omegaconf import DictConfig

from canopy.prepare.make_tensors import N_QUANTILE_STEPS, describe, quantiles_of, to_tensors


@pytest.fixture
def table() -> pa.Table:
    return pa.table(
        {
            "weight": [0.5, -1.5, 2.0],
            "size": [1, 2, 3],
            "colour1": [0, 1, 0],
            "colour2": [1, 0, 0],
            "colour3": [0, 0, 1],
            "kind": [3, 1, 2],
        }
    )


def test_rows_become_tensors(table: pa.Table, small_spec: TableSpec) -> None:
    rows = to_tensors(table, small_spec)
    assert torch.equal(rows.numeric, torch.tensor([[0.5, 1], [-1.5, 2], [2, 3]]))
    assert rows.numeric.dtype == torch.float32
    assert rows.categorical.tolist() == [[1], [0], [2]]
    assert rows.categorical.dtype == torch.uint8
    assert rows.labels.tolist() == [2, 0, 1]


def test_labels_follow_the_order_of_the_classes(table: pa.Table, small_params: DictConfig) -> None:
    small_params.table.target.classes = None
    small_params.table.target.classes = {2: "Pear", 3: "Plum", 1: "Apple"}
    spec = TableSpec.from_config(small_params.table)
    assert describe(spec).class_names == ("Pear", "Plum", "Apple")
    assert to_tensors(table, spec).labels.tolist() == [1, 2, 0]


def test_a_row_whose_column_was_dropped_gets_a_category_of_its_own(
    table: pa.Table, small_spec: TableSpec
) -> None:
    spec = small_spec.without(["colour1"])
    rows = to_tensors(table.drop_columns(["colour1"]), spec)
    assert rows.categorical.tolist() == [[0], [2], [1]]
    assert describe(spec).categorical[0].categories == ("colour2", "colour3", "other")
    assert describe(spec).cardinalities == (3,)


def test_quantiles_stand_in_the_rows_from_the_smallest_to_the_largest() -> None:
    rows = torch.stack([torch.arange(1000.0), torch.zeros(1000)], dim=1)
    rows[7, 1] = -1
    steps, constant = quantiles_of(rows[torch.randperm(1000)])
    assert len(steps) == len(constant) == N_QUANTILE_STEPS + 1
    assert (steps[0], steps[64], steps[-1]) == (0, 500, 999)
    assert {*torch.tensor(steps).diff().tolist()} == {7, 8}
    assert (constant[0], *constant[1:]) == (-1, *[0] * N_QUANTILE_STEPS)

"""A small table with something to find in it."""

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf

from canopy.explore.exploration import Exploration


@pytest.fixture
def explore_params(small_params: DictConfig) -> DictConfig:
    limits = {"nearly_constant_share": 0.9, "high_correlation": 0.9, "n_mutual_information_rows": 1000}
    params = OmegaConf.merge(small_params, {"explore": limits})
    assert isinstance(params, DictConfig)
    return params


@pytest.fixture
def exploration(explore_params: DictConfig) -> Exploration:
    return Exploration.from_config(explore_params)


@pytest.fixture
def frame() -> pd.DataFrame:
    """100 rows: weight grows with the class, size is twice the weight, colour3 is never set."""
    kind = np.repeat([1, 2, 3], [50, 40, 10])
    weight = kind * 100 + np.arange(100) % 10
    colour = np.where(kind == 1, 0, 1)
    columns = {"weight": weight, "size": 2 * weight}
    columns |= {f"colour{i + 1}": (colour == i).astype(np.int64) for i in range(3)}
    return pd.DataFrame({**columns, "kind": kind})

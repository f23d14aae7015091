"""Small tables with something to find in them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf

from canopy.explore.explore import compute_findings
from canopy.explore.profile import Profile, read_profile
from canopy.prepare.interim import table_schema
from canopy.schema import TableSchema

LIMITS = {"nearly_constant_share": 0.9, "high_correlation": 0.9, "n_mutual_information_rows": 1000}


@pytest.fixture
def frame() -> pd.DataFrame:
    """100 rows: weight grows with the class, size is twice the weight, colour3 is never set."""
    kind = np.repeat([1, 2, 3], [50, 40, 10])
    weight = kind * 100 + np.arange(100) % 10
    colour = np.where(kind == 1, 0, 1)
    columns = {"weight": weight, "size": 2 * weight}
    columns |= {f"colour{i + 1}": (colour == i).astype(np.int64) for i in range(3)}
    return pd.DataFrame({**columns, "kind": kind})


@pytest.fixture
def profile_of(small_params: DictConfig) -> Callable[..., Profile]:
    """Profile a frame: `profile_of(frame, schema)`; the schema is that of the small table by default."""

    def call(frame: pd.DataFrame, schema: TableSchema | None = None) -> Profile:
        frame.to_csv(small_params.paths.raw, index=False)
        return read_profile(small_params.paths.raw, schema or table_schema(small_params), seed=0)

    return call


@pytest.fixture
def findings_of(profile_of: Callable[..., Profile]) -> Callable[..., dict[str, Any]]:
    """Compute the findings about a frame, likewise."""
    return lambda *table: compute_findings(profile_of(*table), OmegaConf.create(LIMITS), seed=0)


@pytest.fixture
def trips() -> tuple[pd.DataFrame, TableSchema]:
    """400 rows with all kinds of columns; the hour of the time over 40 days decides the label."""
    generator = np.random.default_rng(0)
    hours = generator.integers(24 * 40, size=400)
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(hours, unit="h")
    frame = pd.DataFrame(
        {
            "id": np.arange(400),
            "start": times.astype(str),
            "city": generator.choice(["Bern", "Rome", "Oslo"], 400, p=[0.6, 0.3, 0.1]),
            "km": generator.normal(10, 2, 400).round(3),
            "label": np.where(hours % 24 < 12, "early", "late"),
        }
    )
    columns = {"id": {"kind": "key"}, "note": {"kind": "ignored"}, "start": {"kind": "datetime"}}
    columns |= {"city": {"kind": "categorical"}, "km": {"kind": "numeric", "range": [0, None]}}
    schema = TableSchema.parse({"target": {"column": "label", "missing": "drop"}, "columns": columns})
    return frame, schema

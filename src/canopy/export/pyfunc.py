"""A bundle as a model of MLflow: what `mlflow.pyfunc.load_model` gives."""

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from canopy.export.predict import predict


class BundleModel:
    """Predicts raw rows as `src/predict.py` does."""

    def __init__(self, bundle: str) -> None:
        self._bundle = bundle

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Predict each row; a ValueError if one has an invalid value."""
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "rows.parquet"), Path(folder, "predictions.parquet")
            rows.to_parquet(source, index=False)
            own = {"bundle": self._bundle, "input": str(source), "output": str(target)}
            further: dict[str, Any] = {"run": None, "keys": [], "threshold": None, "on_error": "reject_file"}
            predict(OmegaConf.create({**own, **further}))
            return pd.read_parquet(target)


def _load_pyfunc(data_path: str) -> BundleModel:
    """Open the bundle of a model: MLflow calls a function of this name."""
    return BundleModel(data_path)

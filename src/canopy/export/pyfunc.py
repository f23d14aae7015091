"""A bundle as a model of MLflow: what `mlflow.pyfunc.load_model` gives."""

import pandas as pd
import pyarrow as pa

from canopy.export.scorer import Scorer
from canopy.tables.parse import parse


class BundleModel:
    """Predicts raw rows, with the columns of the table in any order, as `src/predict.py` does."""

    def __init__(self, bundle: str) -> None:
        self._scorer = Scorer(bundle)
        manifest = self._scorer.manifest
        schema = manifest.preprocessor.restrict(manifest.table)
        self._schema = schema.without({*schema.keys})

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Predict each row; a ValueError if one has an invalid value."""
        batch = pa.RecordBatch.from_pandas(rows, preserve_index=False)
        parsed = parse(batch, self._schema, with_target=False)
        for name, requirement, places, values in parsed.violations:
            raise ValueError(f"{name!r} must {requirement}; got {values[0]} in row {places[0]}")
        valid, scorer = parsed.valid_rows(), self._scorer
        predictions = scorer.predict(scorer.manifest.preprocessor.inputs(valid))
        found: pd.DataFrame = scorer.answers.table(valid, predictions, keys=[]).to_pandas()
        # Classes, which Arrow has as a dictionary.
        return found.astype(dict.fromkeys(found.select_dtypes("category"), "str"))


def _load_pyfunc(data_path: str) -> BundleModel:
    """Open the bundle of a model: MLflow calls a function of this name."""
    return BundleModel(data_path)

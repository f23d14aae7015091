"""Boosted trees, forests and simpler models, each fitted and asked for probabilities in one way."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from hydra.utils import get_class
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Categories of a feature beyond the most frequent ones share a column where a model takes one-hot columns.
MAX_ONE_HOT = 100


class Rows(NamedTuple):
    """Features of the rows of a split, categorical ones as the type `category`, and the class of each."""

    features: pd.DataFrame
    labels: Ints


class Baseline(NamedTuple):
    """A model of another kind: its name in reports, its class, and options that are no settings."""

    title: str
    classifier: str
    options: Mapping[str, Any]

    @property
    def package(self) -> str:
        return self.classifier.partition(".")[0]

    def fit(self, train: Rows, val: Rows, *, seed: int, settings: Mapping[str, Any]) -> Any:
        """Fit the model; validation rows stop those early that learn in rounds."""
        model = get_class(self.classifier)(random_state=seed, **self.options, **settings)
        categorical = [name for name in train.features.columns if name[0] == "c"]
        match self.package:
            case "xgboost":
                return model.fit(*train, eval_set=[val], verbose=False)
            case "lightgbm":
                return model.fit(*train, eval_X=val.features, eval_y=val.labels)
            case "catboost":
                return model.fit(*train, eval_set=val, cat_features=categorical)
        # Here, since they take time to import.
        from sklearn.compose import ColumnTransformer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        one_hot = OneHotEncoder(handle_unknown="ignore", max_categories=MAX_ONE_HOT, dtype=np.float32)
        encode = ColumnTransformer([("categories", one_hot, categorical)], remainder=StandardScaler())
        return make_pipeline(encode, model).fit(*train)


# By the name of the section of configs/baselines.yaml that has its settings.
BASELINES = {
    "constant": Baseline("Constant guess", "sklearn.dummy.DummyClassifier", {"strategy": "prior"}),
    "logistic_regression": Baseline("Logistic regression", "sklearn.linear_model.LogisticRegression", {}),
    "random_forest": Baseline("Random forest", "sklearn.ensemble.RandomForestClassifier", {"n_jobs": -1}),
    "xgboost": Baseline("XGBoost", "xgboost.XGBClassifier", {"enable_categorical": True}),
    "lightgbm": Baseline("LightGBM", "lightgbm.LGBMClassifier", {"verbose": -1}),
    "catboost": Baseline(
        "CatBoost", "catboost.CatBoostClassifier", {"verbose": False, "allow_writing_files": False}
    ),
}


def as_rows(
    numeric: NDArray[np.float32], codes: Ints, labels: Ints, *, cardinalities: tuple[int, ...]
) -> Rows:
    """Lay out a split's tensors as trees take them; a feature's cardinality is the code of the unseen."""
    columns: dict[str, Any] = {f"n{index}": values for index, values in enumerate(numeric.T)}
    for index, (values, n) in enumerate(zip(codes.T, cardinalities, strict=True)):
        columns[f"c{index}"] = pd.Categorical.from_codes(values, categories=pd.RangeIndex(n + 1))
    return Rows(pd.DataFrame(columns), labels)


class Fitted:
    """A fitted baseline that gives a probability to every class, also to those without a training row."""

    def __init__(
        self, baseline: Baseline, train: Rows, val: Rows, *, n_classes: int, seed: int, settings: Any
    ) -> None:
        self.n_classes = n_classes
        # Packages want consecutive classes.
        self._classes, labels = np.unique(train.labels, return_inverse=True)
        known = np.isin(val.labels, self._classes)
        watched = Rows(val.features[known], np.searchsorted(self._classes, val.labels[known]))
        self._model = baseline.fit(Rows(train.features, labels), watched, seed=seed, settings=settings)

    def predict(self, features: pd.DataFrame) -> Floats:
        """Give the probability of each class, shape (B, K)."""
        probabilities = np.zeros((len(features), self.n_classes))
        probabilities[:, self._classes] = self._model.predict_proba(features)
        return probabilities

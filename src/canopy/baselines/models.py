"""Boosted trees, forests and simpler models, each with one way to fit and one to predict."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Categories of a feature beyond the most frequent ones share a column where a model takes one-hot columns.
MAX_ONE_HOT = 100


class Rows(NamedTuple):
    """Rows of a split.

    Attributes:
        features: Numeric features, and categorical ones as the type `category`, shape (B, N + C).
        labels: Index of each row's class, shape (B,).
    """

    features: pd.DataFrame
    labels: Ints


# Called with training rows, validation rows, the seed and the model's settings, it gives a fitted classifier.
Fit = Callable[[Rows, Rows, int, Mapping[str, Any]], Any]


class Baseline(NamedTuple):
    """A model of another kind.

    Attributes:
        title: Its name in reports.
        fit: Fits it.
        package: Package that has to be installed for it.
    """

    title: str
    fit: Fit
    package: str = "sklearn"

    @property
    def is_installed(self) -> bool:
        return find_spec(self.package) is not None


def as_rows(
    numeric: NDArray[np.float32], codes: Ints, labels: Ints, *, cardinalities: tuple[int, ...]
) -> Rows:
    """Lay out a split's tensors as trees take them.

    Args:
        numeric: Numeric features, shape (B, N).
        codes: Codes of the categorical features, shape (B, C); a feature's number of categories is the code
            of unseen ones.
        labels: Index of each row's class, shape (B,).
        cardinalities: Number of categories of each categorical feature, C of them.
    """
    columns: dict[str, Any] = {f"n{index}": values for index, values in enumerate(numeric.T)}
    for index, (values, n) in enumerate(zip(codes.T, cardinalities, strict=True)):
        columns[f"c{index}"] = pd.Categorical.from_codes(values, categories=pd.RangeIndex(n + 1))
    return Rows(pd.DataFrame(columns), labels)


class Fitted:
    """A fitted baseline that gives a probability to every class, also to those without a training row.

    Args:
        baseline: What to fit.
        train: Training rows.
        val: Validation rows, which stop those early that fit in rounds.
        n_classes: Classes K.
        seed: Seed of the fit.
        settings: Options of the model, as its package calls them.
    """

    def __init__(
        self,
        baseline: Baseline,
        train: Rows,
        val: Rows,
        *,
        n_classes: int,
        seed: int,
        settings: Mapping[str, Any],
    ) -> None:
        self.n_classes = n_classes
        # Packages want consecutive classes.
        self._classes, labels = np.unique(train.labels, return_inverse=True)
        known = np.isin(val.labels, self._classes)
        watched = Rows(val.features[known], np.searchsorted(self._classes, val.labels[known]))
        self._model = baseline.fit(Rows(train.features, labels), watched, seed, settings)

    def predict(self, features: pd.DataFrame) -> Floats:
        """Give the probability of each class, shape (B, K)."""
        probabilities = np.zeros((len(features), self.n_classes))
        probabilities[:, self._classes] = self._model.predict_proba(features)
        return probabilities


def _categorical(features: pd.DataFrame) -> list[str]:
    return [name for name in features.columns if name[0] == "c"]


def _fit_constant(train: Rows, _val: Rows, _seed: int, settings: Mapping[str, Any]) -> Any:
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="prior", **settings).fit(train.features, train.labels)


def _on_one_hot(train: Rows, model: Any, *, scaled: bool) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    one_hot = OneHotEncoder(handle_unknown="ignore", max_categories=MAX_ONE_HOT, dtype=np.float32)
    encode = ColumnTransformer(
        [("categories", one_hot, _categorical(train.features))],
        remainder=StandardScaler() if scaled else "passthrough",
    )
    return make_pipeline(encode, model).fit(train.features, train.labels)


def _fit_logistic_regression(train: Rows, _val: Rows, seed: int, settings: Mapping[str, Any]) -> Any:
    from sklearn.linear_model import LogisticRegression

    return _on_one_hot(train, LogisticRegression(random_state=seed, **settings), scaled=True)


def _fit_random_forest(train: Rows, _val: Rows, seed: int, settings: Mapping[str, Any]) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return _on_one_hot(train, RandomForestClassifier(random_state=seed, n_jobs=-1, **settings), scaled=False)


def _fit_xgboost(train: Rows, val: Rows, seed: int, settings: Mapping[str, Any]) -> Any:
    import xgboost

    model = xgboost.XGBClassifier(random_state=seed, enable_categorical=True, **settings)
    return model.fit(train.features, train.labels, eval_set=[val], verbose=False)


def _fit_lightgbm(train: Rows, val: Rows, seed: int, settings: Mapping[str, Any]) -> Any:
    import lightgbm

    model = lightgbm.LGBMClassifier(random_state=seed, verbose=-1, **settings)
    return model.fit(train.features, train.labels, eval_X=val.features, eval_y=val.labels)


def _fit_catboost(train: Rows, val: Rows, seed: int, settings: Mapping[str, Any]) -> Any:
    import catboost

    model = catboost.CatBoostClassifier(
        random_seed=seed, verbose=False, allow_writing_files=False, **settings
    )
    return model.fit(train.features, train.labels, eval_set=val, cat_features=_categorical(train.features))


# By the name of the section of configs/baselines.yaml that has its settings.
BASELINES = {
    "constant": Baseline("Constant guess", _fit_constant),
    "logistic_regression": Baseline("Logistic regression", _fit_logistic_regression),
    "random_forest": Baseline("Random forest", _fit_random_forest),
    "xgboost": Baseline("XGBoost", _fit_xgboost, "xgboost"),
    "lightgbm": Baseline("LightGBM", _fit_lightgbm, "lightgbm"),
    "catboost": Baseline("CatBoost", _fit_catboost, "catboost"),
}

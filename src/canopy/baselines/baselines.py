"""Boosted trees, forests and simpler models on a data set's rows, each fitted and left as a run."""

import logging
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from hydra.utils import get_class
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from canopy.compare.comparison import PREDICTIONS
from canopy.compare.significance import compare_predictions
from canopy.data.dataset import load_rows
from canopy.evaluation.evaluate import write_scores
from canopy.files import SPLITS, write_json
from canopy.places import require_file
from canopy.runs.record import record_run
from canopy.runs.run import METRICS
from canopy.runs.run_folder import start_run_folder
from canopy.schema.tensors import SCHEMA_FILE, Schema
from canopy.tasks.calibration import calibrate, fit_temperature
from canopy.tasks.scores import score
from canopy.text_tables import render
from canopy.training.callbacks.whole_split import PredictionFile

log = logging.getLogger(__name__)

MONITOR = "val/nll"

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


def run(cfg: DictConfig, *, folder: Path, overrides: Sequence[str] = ()) -> float:
    """Fit and score each model that the config names, each in a run folder below `folder`.

    Gives the lowest log loss on the validation rows, in nats: what a sweep minimises.
    """
    names = choose(cfg.models)
    net = None if cfg.predictions is None else read_predictions(Path(cfg.predictions))
    reports = {name: train(name, cfg, folder=folder / name, overrides=overrides) for name in names}
    if net is not None:
        for name, report in reports.items():
            own = read_predictions(folder / name / PREDICTIONS.format(split="test"))
            if not np.array_equal(own["label"], net["label"]):
                raise ValueError(
                    f"{cfg.predictions} must have the test rows of the data: evaluate the run again"
                )
            columns = (own["label"], own["predicted"], net["predicted"])
            found = compare_predictions(*(column.to_numpy() for column in columns))
            report["net"] = {
                "accuracy_difference": found.accuracy.difference,
                "interval": [found.accuracy.low, found.accuracy.high],
                "mcnemar_p": found.mcnemar_p,
            }
    if cfg.report is not None:
        write_json(cfg.report, reports)
    ranked = sorted(reports.values(), key=lambda report: report["test"]["nll"])
    scores = ("accuracy", "nll", "ece")
    rows = [[one["title"], *(one["test"][name] for name in scores), one["train_seconds"]] for one in ranked]
    log.info("%s", render(["test rows", "accuracy", "log loss", "ECE", "seconds"], rows))
    return min((report["val"]["nll"] for report in ranked), default=float("nan"))


def choose(models: Sequence[str] | str) -> list[str]:
    """Give the names of the models to train: `all` are those that are installed."""
    if models == "all":
        return [name for name, baseline in BASELINES.items() if find_spec(baseline.package) is not None]
    names = [models] if isinstance(models, str) else [*models]
    if unknown := [name for name in names if name not in BASELINES]:
        raise ValueError(f"models must be some of {', '.join(BASELINES)}, or all; got {unknown[0]!r}")
    return names


def load_split(folder: str | Path, split: str, schema: Schema) -> Rows:
    """Load the tensors of a split as the rows of a baseline."""
    rows = load_rows(folder, split, schema).rows
    codes = rows.categorical.numpy().astype(np.int64)
    return as_rows(rows.numeric.numpy(), codes, rows.labels.numpy(), cardinalities=schema.cardinalities)


def train(name: str, cfg: DictConfig, *, folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Fit and score a model, and leave it as a run."""
    schema = Schema.load(Path(cfg.data) / SCHEMA_FILE)
    rows = {split: load_split(cfg.data, split, schema) for split in SPLITS}
    settings: Any = OmegaConf.to_container(cfg.settings[name], resolve=True)
    config = {
        "pipeline": OmegaConf.to_container(cfg.pipeline),
        "data": {"folder": cfg.data},
        "model": {"baseline": name, **settings},
        "name": name,
        "seed": cfg.seed,
        "objective": {"monitor": MONITOR, "mode": "min"},
        "run_folder": str(folder),
    }
    baseline, options = BASELINES[name], {"n_classes": schema.n_classes, "seed": cfg.seed}
    start_run_folder(folder, OmegaConf.create(config), Path(cfg.data))
    with record_run(folder, overrides=overrides, seed=cfg.seed) as record:
        log.info("Fitting %s in %s", baseline.title, folder)
        started = time.perf_counter()
        model = Fitted(baseline, rows["train"], rows["val"], settings=settings, **options)
        seconds = round(time.perf_counter() - started, 2)
        record["training"] = {"train_seconds": seconds}
        report, predictions = {}, PredictionFile(str(folder / PREDICTIONS))
        for split in ("val", "test"):
            features, labels = rows[split]
            predicted = model.predict(features)
            if split == "val":
                temperature = fit_temperature(predicted, labels)
            scores = score(predicted, labels, schema.class_names).report()
            calibration = calibrate(predicted, labels, temperature=temperature)
            report[split] = {**scores, "calibrated": calibration.report()}
            kept = {"probabilities": torch.from_numpy(predicted).float(), "labels": torch.from_numpy(labels)}
            predictions.finish(split, **kept)
        record["best"] = {"monitor": MONITOR, "score": report["val"]["nll"]}
        write_scores(folder / METRICS, report, record)
    return {"title": baseline.title, "run": str(folder), "train_seconds": seconds, **report}


def read_predictions(path: Path) -> pd.DataFrame:
    """Read class and predicted class of each row, as an evaluation leaves them."""
    require_file(path, name="The predictions ", hint="evaluate a run first")
    return pd.read_parquet(path, columns=["label", "predicted"])

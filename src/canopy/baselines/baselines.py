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

from canopy.baselines.rows import Rows, load_split
from canopy.compare.comparison import PREDICTIONS
from canopy.compare.significance import compare_numbers, compare_predictions
from canopy.evaluation.evaluate import write_scores
from canopy.files import SPLITS, write_json
from canopy.places import require_file
from canopy.runs.record import record_run
from canopy.runs.run import METRICS
from canopy.runs.run_folder import start_run_folder
from canopy.schema.tensors import SCHEMA_FILE, Schema
from canopy.tasks.task import Task, task_of
from canopy.text_tables import render
from canopy.training.callbacks.whole_split import PredictionFile

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

# Categories of a feature beyond the most frequent ones share a column where a model takes one-hot columns.
MAX_ONE_HOT = 100


class Baseline(NamedTuple):
    """A model of another kind: its name in reports, its class, and options that are no settings.

    `classifier` or `regressor` is None of a kind that there is for the other target alone.
    """

    title: str
    classifier: str | None
    regressor: str | None
    options: Mapping[str, Any]

    @property
    def package(self) -> str:
        return str(self.classifier or self.regressor).partition(".")[0]

    def fit(self, train: Rows, val: Rows, *, seed: int, settings: Mapping[str, Any]) -> Any:
        """Fit the model; validation rows stop those early that learn in rounds."""
        is_number = train.labels.dtype.kind == "f"
        model = get_class(str(self.regressor if is_number else self.classifier))(**self.options, **settings)
        if "random_state" in model.get_params() or self.package == "catboost":
            model.set_params(random_state=seed)
        categorical = [name for name in train.features.columns if name[0] == "c"]
        rows, watched = train[:2], val[:2]
        weights: dict[str, Any] = {} if train.weights is None else {"sample_weight": train.weights}
        match self.package:
            case "xgboost":
                further = {"sample_weight_eval_set": [val.weights]} if weights else {}
                return model.fit(*rows, eval_set=[watched], verbose=False, **weights, **further)
            case "lightgbm":
                further = {"eval_sample_weight": [val.weights]} if weights else {}
                return model.fit(*rows, eval_X=val.features, eval_y=val.labels, **weights, **further)
            case "catboost":
                if weights:
                    # Here, since not everyone has it.
                    from catboost import Pool

                    watched = Pool(*watched, cat_features=categorical, weight=val.weights)
                return model.fit(*rows, eval_set=watched, cat_features=categorical, **weights)
        # Here, since they take time to import.
        from sklearn.compose import ColumnTransformer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        one_hot = OneHotEncoder(handle_unknown="ignore", max_categories=MAX_ONE_HOT, dtype=np.float32)
        encode = ColumnTransformer([("categories", one_hot, categorical)], remainder=StandardScaler())
        pipeline = make_pipeline(encode, model)
        return pipeline.fit(*rows, **{f"{pipeline.steps[-1][0]}__{key}": own for key, own in weights.items()})


# By the name of the section of configs/baselines.yaml that has its settings.
BASELINES = {
    "constant": Baseline(
        "Constant guess", "sklearn.dummy.DummyClassifier", "sklearn.dummy.DummyRegressor", {}
    ),
    "logistic_regression": Baseline(
        "Logistic regression", "sklearn.linear_model.LogisticRegression", None, {}
    ),
    "ridge_regression": Baseline("Ridge regression", None, "sklearn.linear_model.Ridge", {}),
    "random_forest": Baseline(
        "Random forest",
        "sklearn.ensemble.RandomForestClassifier",
        "sklearn.ensemble.RandomForestRegressor",
        {"n_jobs": -1},
    ),
    "xgboost": Baseline(
        "XGBoost", "xgboost.XGBClassifier", "xgboost.XGBRegressor", {"enable_categorical": True}
    ),
    "lightgbm": Baseline("LightGBM", "lightgbm.LGBMClassifier", "lightgbm.LGBMRegressor", {"verbose": -1}),
    "catboost": Baseline(
        "CatBoost",
        "catboost.CatBoostClassifier",
        "catboost.CatBoostRegressor",
        {"verbose": False, "allow_writing_files": False},
    ),
}


class Fitted:
    """A fitted baseline that gives a probability to every class, also to those without a training row."""

    def __init__(
        self, baseline: Baseline, train: Rows, val: Rows, *, task: Task, seed: int, settings: Any
    ) -> None:
        self._task = task
        if task.kind == "regression":
            self._model = baseline.fit(train, val, seed=seed, settings=settings)
            return
        # Packages want consecutive classes.
        self._classes, labels = np.unique(train.labels, return_inverse=True)
        known = np.isin(val.labels, self._classes)
        watched = Rows(
            val.features[known],
            np.searchsorted(self._classes, val.labels[known]),
            None if val.weights is None else val.weights[known],
        )
        self._model = baseline.fit(train._replace(labels=labels), watched, seed=seed, settings=settings)

    def predict(self, features: pd.DataFrame) -> Floats:
        """Give predictions, shape (B, K): the probability of each class, or the number in its unit."""
        if self._task.kind == "regression":
            scaled = np.asarray(self._model.predict(features), np.float64)
            return self._task.predict(torch.from_numpy(scaled[:, None])).numpy()
        probabilities = np.zeros((len(features), self._task.n_outputs))
        probabilities[:, self._classes] = self._model.predict_proba(features)
        return probabilities


def run(cfg: DictConfig, *, folder: Path, overrides: Sequence[str] = ()) -> float:
    """Fit and score each model that the config names, each in a run folder below `folder`.

    Gives the lowest log loss on the validation rows, in nats, or RMSE: what a sweep minimises.
    """
    task = task_of(Schema.load(Path(cfg.data) / SCHEMA_FILE))
    names = choose(cfg.models, task)
    net = None if cfg.predictions is None else read_predictions(Path(cfg.predictions))
    reports = {name: train(name, cfg, folder=folder / name, overrides=overrides) for name in names}
    if net is not None:
        for name, report in reports.items():
            own = read_predictions(folder / name / PREDICTIONS.format(split="test"))
            if not np.array_equal(own["label"], net["label"]):
                raise ValueError(
                    f"{cfg.predictions} must have the test rows of the data: evaluate the run again"
                )
            columns = [column.to_numpy() for column in (own["label"], own["predicted"], net["predicted"])]
            if task.kind == "regression":
                rmse = compare_numbers(*columns).rmse
                report["net"] = {"rmse_difference": rmse.difference, "interval": [rmse.low, rmse.high]}
                continue
            found = compare_predictions(*columns)
            report["net"] = {
                "accuracy_difference": found.accuracy.difference,
                "interval": [found.accuracy.low, found.accuracy.high],
                "mcnemar_p": found.mcnemar_p,
            }
    if cfg.report is not None:
        write_json(cfg.report, reports)
    ranked = sorted(reports.values(), key=lambda report: report["test"][task.finite])
    rows = [
        [one["title"], *(one["test"].get(name) for name in task.headline), one["train_seconds"]]
        for one in ranked
    ]
    log.info("%s", render(["test rows", *task.headline, "seconds"], rows))
    return min((report["val"][task.finite] for report in ranked), default=float("nan"))


def choose(models: Sequence[str] | str, task: Task) -> list[str]:
    """Give the names of the models to train: `all` are those that are installed."""
    place = "regressor" if task.kind == "regression" else "classifier"
    fitting = [name for name, baseline in BASELINES.items() if getattr(baseline, place) is not None]
    if models == "all":
        return [name for name in fitting if find_spec(BASELINES[name].package) is not None]
    names = [models] if isinstance(models, str) else [*models]
    if unknown := [name for name in names if name not in fitting]:
        raise ValueError(f"models must be some of {', '.join(fitting)}, or all; got {unknown[0]!r}")
    return names


def train(name: str, cfg: DictConfig, *, folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Fit and score a model, and leave it as a run."""
    schema = Schema.load(Path(cfg.data) / SCHEMA_FILE)
    task = task_of(schema)
    rows = {split: load_split(cfg.data, split, schema) for split in SPLITS}
    settings: Any = OmegaConf.to_container(cfg.settings[name], resolve=True)
    config = {
        "pipeline": OmegaConf.to_container(cfg.pipeline),
        "data": {"folder": cfg.data},
        "model": {"baseline": name, **settings},
        "name": name,
        "seed": cfg.seed,
        "objective": {"monitor": f"val/{task.finite}", "mode": "min"},
        "run_folder": str(folder),
    }
    baseline, options = BASELINES[name], {"task": task, "seed": cfg.seed}
    start_run_folder(folder, OmegaConf.create(config), Path(cfg.data))
    with record_run(folder, overrides=overrides, seed=cfg.seed) as record:
        log.info("Fitting %s in %s", baseline.title, folder)
        started = time.perf_counter()
        model = Fitted(baseline, rows["train"], rows["val"], settings=settings, **options)
        seconds = round(time.perf_counter() - started, 2)
        record["training"] = {"train_seconds": seconds}
        report, predictions = {}, PredictionFile(str(folder / PREDICTIONS))
        predictions.task = task
        for split in ("val", "test"):
            features, labels, weights = rows[split]
            predicted = model.predict(features)
            if split == "val":
                fitted = task.fit_calibration(predicted, labels, weights)
            scores = task.score(predicted, labels, weights).report()
            calibrated = task.calibrate(predicted, labels, fitted, weights).report()
            report[split] = {**scores, "calibrated": calibrated}
            kept = torch.from_numpy(predicted)
            kept = kept if task.kind == "regression" else kept.float()
            own = None if weights is None else torch.from_numpy(weights)
            predictions.finish(split, predictions=kept, labels=torch.from_numpy(labels), weights=own)
        record["best"] = {"monitor": f"val/{task.finite}", "score": report["val"][task.finite]}
        write_scores(folder / METRICS, report, record, headline=task.headline)
    return {"title": baseline.title, "run": str(folder), "train_seconds": seconds, **report}


def read_predictions(path: Path) -> pd.DataFrame:
    """Read class and predicted class of each row, as an evaluation leaves them."""
    require_file(path, name="The predictions ", hint="evaluate a run first")
    return pd.read_parquet(path, columns=["label", "predicted"])

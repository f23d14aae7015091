"""Train models of other kinds on a data set's rows and leave each as a run."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf

from canopy.baselines.models import BASELINES, Fitted, Rows, as_rows
from canopy.compare.comparison import PREDICTIONS
from canopy.compare.significance import compare_predictions
from canopy.data.dataset import load_rows
from canopy.evaluation.evaluate import write_scores
from canopy.files import SPLITS, write_json
from canopy.names import nearest
from canopy.places import require_file
from canopy.runs.record import record_run
from canopy.runs.run import METRICS
from canopy.runs.run_folder import start_run_folder
from canopy.schema.tensors import SCHEMA_FILE, Schema
from canopy.tasks.calibration import calibrate, fit_temperature
from canopy.tasks.metrics import score
from canopy.text_tables import render
from canopy.training.callbacks.whole_split import PredictionFile

log = logging.getLogger(__name__)

MONITOR = "val/nll"


def run(cfg: DictConfig, *, folder: Path, overrides: Sequence[str] = ()) -> float:
    """Fit and score each model that the config names; `folder` gets a run folder for each.

    Gives the lowest log loss on the validation rows, in nats: what a sweep minimises.
    """
    reports = {
        name: train(name, cfg, folder=folder / name, overrides=overrides) for name in choose(cfg.models)
    }
    if cfg.predictions is not None:
        net = read_predictions(Path(cfg.predictions))
        for name, report in reports.items():
            own = read_predictions(folder / name / PREDICTIONS.format(split="test"))
            if not np.array_equal(own["label"], net["label"]):
                raise ValueError(
                    f"{cfg.predictions} must have the test rows of the data: evaluate the run again"
                )
            labels, predicted = own["label"].to_numpy(), own["predicted"].to_numpy()
            found = compare_predictions(labels, predicted, net["predicted"].to_numpy())
            interval = [found.accuracy.low, found.accuracy.high]
            difference = {"accuracy_difference": found.accuracy.difference, "interval": interval}
            report["net"] = {**difference, "mcnemar_p": found.mcnemar_p}
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
        return [name for name, baseline in BASELINES.items() if baseline.is_installed]
    names = [models] if isinstance(models, str) else [*models]
    for name in names:
        if name not in BASELINES:
            hint = nearest(name, BASELINES)
            raise ValueError(f"models must be some of {', '.join(BASELINES)}, or all; got {name!r}{hint}")
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
        report = {}
        for split in ("val", "test"):
            features, labels = rows[split]
            predicted = model.predict(features)
            if split == "val":
                temperature = fit_temperature(predicted, labels)
            calibration = calibrate(predicted, labels, temperature=temperature)
            scores = score(predicted, labels, schema.class_names).report()
            report[split] = {**scores, "calibrated": calibration.report()}
            kept = {"probabilities": torch.from_numpy(predicted).float(), "labels": torch.from_numpy(labels)}
            PredictionFile(str(folder / PREDICTIONS)).finish(split, **kept)
        record["best"] = {"monitor": MONITOR, "score": report["val"]["nll"]}
        write_scores(folder / METRICS, report, record)
    return {"title": baseline.title, "run": str(folder), "train_seconds": seconds, **report}


def read_predictions(path: Path) -> pd.DataFrame:
    """Read class and predicted class of each row, as an evaluation leaves them."""
    require_file(path, name="The predictions ", hint="evaluate a run first")
    return pd.read_parquet(path, columns=["label", "predicted"])

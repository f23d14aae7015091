"""Train models of other kinds on a data set's rows and leave each as a run."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import torch
from omegaconf import DictConfig, OmegaConf

from canopy.baselines.models import BASELINES, Fitted, Ints, Rows, as_rows
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
from canopy.training.callbacks.prediction_file import PredictionFile

log = logging.getLogger(__name__)

MONITOR = "val/nll"


def run(cfg: DictConfig, *, folder: Path, overrides: Sequence[str] = ()) -> float:
    """Fit and score each model that the config names.

    Args:
        cfg: The composed config of `configs/baselines.yaml`.
        folder: Where each model's run folder is made, named as the model.
        overrides: What the command line changed in the config.

    Returns:
        The lowest log loss on the validation rows, in nats: what a sweep minimises.

    Raises:
        FileNotFoundError: If the pipeline has not made the tensors.
        ValueError: If a model is unknown or its package is not installed.
    """
    names = choose(cfg.models)
    reports = {}
    if names:
        schema = Schema.load(Path(cfg.data) / SCHEMA_FILE)
        splits = {split: load_split(cfg.data, split, schema) for split in SPLITS}
        for name in names:
            reports[name] = _train(name, cfg, splits, schema, folder=folder / name, overrides=overrides)
    if cfg.predictions is not None:
        net = read_predictions(Path(cfg.predictions))
        for name in names:
            own = read_predictions(folder / name / PREDICTIONS.format(split="test"))
            reports[name]["net"] = _difference(own, net, path=cfg.predictions)
    if cfg.report is not None:
        write_json(cfg.report, reports)
    log.info(
        "%s", f"On the test rows:\n{tabulate(reports)}" if reports else "No baselines: models lists none"
    )
    return min((report["val"]["nll"] for report in reports.values()), default=float("nan"))


def choose(models: Sequence[str] | str) -> list[str]:
    """Give the names of the models to train.

    Args:
        models: Names, or `all`: all that are installed.

    Raises:
        ValueError: If one is unknown or cannot be imported.

    Examples:
        >>> choose(["random_forest"])
        ['random_forest']
    """
    if models == "all":
        return [name for name, baseline in BASELINES.items() if baseline.is_installed]
    for name in [models] if isinstance(models, str) else models:
        if name not in BASELINES:
            raise ValueError(
                f"models must be some of {', '.join(BASELINES)}, or all; got {name!r}"
                f"{nearest(name, BASELINES)}"
            )
        if not BASELINES[name].is_installed:
            raise ValueError(
                f"The model {name} needs the package {BASELINES[name].package}; found none: "
                "run \"pip install -e '.[baselines]'\""
            )
    return [models] if isinstance(models, str) else [*models]


def tabulate(reports: dict[str, dict[str, Any]]) -> str:
    """Lay out the scores on the test rows, the lowest log loss first."""
    rows = [
        [
            report["title"],
            f"{report['test']['accuracy']:.4f}",
            f"{report['test']['nll']:.4f}",
            f"{report['test']['ece']:.4f}",
            f"{report['train_seconds']:.1f}",
        ]
        for report in sorted(reports.values(), key=lambda report: report["test"]["nll"])
    ]
    return render(["test rows", "accuracy", "log loss", "ECE", "seconds"], rows)


def load_split(folder: str | Path, split: str, schema: Schema) -> Rows:
    """Load the tensors of a split as the rows of a baseline."""
    rows = load_rows(folder, split, schema).rows
    codes = rows.categorical.numpy().astype(np.int64)
    return as_rows(rows.numeric.numpy(), codes, rows.labels.numpy(), cardinalities=schema.cardinalities)


def _train(
    name: str,
    cfg: DictConfig,
    splits: dict[str, Rows],
    schema: Schema,
    *,
    folder: Path,
    overrides: Sequence[str],
) -> dict[str, Any]:
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
    start_run_folder(folder, OmegaConf.create(config), Path(cfg.data))
    with record_run(folder, overrides=overrides, seed=cfg.seed) as record:
        log.info("Fitting %s in %s", BASELINES[name].title, folder)
        started = time.perf_counter()
        model = Fitted(
            BASELINES[name],
            splits["train"],
            splits["val"],
            n_classes=schema.n_classes,
            seed=cfg.seed,
            settings=settings,
        )
        seconds = round(time.perf_counter() - started, 2)
        record["training"] = {"train_seconds": seconds}
        report = {}
        for split in ("val", "test"):
            features, labels = splits[split]
            predicted = model.predict(features)
            if split == "val":
                temperature = fit_temperature(predicted, labels)
            calibration = calibrate(predicted, labels, temperature=temperature)
            scores = score(predicted, labels, schema.class_names).report()
            report[split] = {**scores, "calibrated": calibration.report()}
            rows = {"probabilities": torch.from_numpy(predicted).float(), "labels": torch.from_numpy(labels)}
            PredictionFile(str(folder / PREDICTIONS)).finish(split, **rows)
        record["best"] = {"monitor": MONITOR, "score": report["val"]["nll"]}
        write_scores(folder / METRICS, report, record)
    return {"title": BASELINES[name].title, "run": str(folder), "train_seconds": seconds, **report}


def read_predictions(path: Path) -> tuple[Ints, Ints]:
    """Read class and predicted class of each row, as an evaluation leaves them, each of shape (n_rows,)."""
    require_file(path, name="The predictions ", hint="evaluate a run first")
    table = pyarrow.parquet.read_table(path, columns=["label", "predicted"])
    labels, predicted = (table[name].to_numpy().astype(np.int64) for name in table.column_names)
    return labels, predicted


def _difference(own: tuple[Ints, Ints], net: tuple[Ints, Ints], *, path: str) -> dict[str, Any]:
    """Say by how much a net is better than a baseline on the same rows."""
    labels, predicted = own
    if not np.array_equal(labels, net[0]):
        raise ValueError(
            f"predictions must be of the same rows as the data; found {len(net[0]):,} rows in {path} that "
            f"differ from the {len(labels):,} test rows: evaluate the run again"
        )
    found = compare_predictions(labels, predicted, net[1])
    return {
        "accuracy_difference": found.accuracy.difference,
        "interval": [found.accuracy.low, found.accuracy.high],
        "mcnemar_p": found.mcnemar_p,
    }

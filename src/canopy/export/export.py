"""Freeze a run: write its bundle, and prove that the bundle predicts what the run predicts."""

import logging
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy import __version__
from canopy.evaluation.inference import Predictor
from canopy.export.graph import OPSET, RawClassifier, save_onnx, save_pt2, trace
from canopy.export.manifest import FILES, MANIFEST_FILE, ONNX_FILE, PT2_FILE, Manifest
from canopy.export.rows import read_raw
from canopy.export.scorer import open_session, run_batches
from canopy.export.statistics import measure
from canopy.files import atomic_folder, read_json, sha256
from canopy.places import check_place, display_path
from canopy.prepare.interim import closed_schema, table_schema
from canopy.prepare.labels import class_values
from canopy.prepare.preprocessor import Inputs
from canopy.quoting import write_command
from canopy.runs.run import Run
from canopy.tasks.calibration import apply_temperature, measure_reliability

log = logging.getLogger(__name__)

BATCH_SIZE = 4096
# How far a probability of the bundle may be from the run's.
TOLERANCE = 1e-5
# A score on another device may differ by a few rows.
SCORE_TOLERANCE = 1e-4


def export(run: Run, cfg: DictConfig) -> None:
    """Write a run's bundle."""
    check_place(cfg.output, option="output", marker=MANIFEST_FILE, reads=(run.path, cfg.metrics))
    hint = f'run "{write_command("evaluate", run=display_path(run.path))}"'
    metrics = read_json(cfg.metrics, hint=hint)
    try:
        temperature = float(metrics["val"]["calibrated"]["temperature"])
        test = metrics["test"]
        reported = {"accuracy": float(test["accuracy"]), "NLL": float(test["calibrated"]["nll"])}
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{cfg.metrics} must hold scores of both splits and a temperature; got {error!r}: {hint}"
        ) from error
    preprocessor, schema = run.preprocessor, table_schema(run.config.pipeline)
    classes = class_values(preprocessor.classes, schema)
    raw, record = read_raw(run), run.record
    train, tested = raw["train"], raw["test"]
    predictor = Predictor(run, batch_size=BATCH_SIZE, accelerator="cpu")
    log_probabilities = apply_temperature(predictor.predict(tested.encoded).astype(float), temperature)
    own = {
        "accuracy": float(np.mean(log_probabilities.argmax(axis=1) == tested.labels)),
        "NLL": measure_reliability(log_probabilities, tested.labels).nll,
    }
    if not all(abs(own[name] - score) <= SCORE_TOLERANCE for name, score in reported.items()):
        raise ValueError(
            f"{cfg.metrics} must hold the scores of this run, {own} on the test rows with its temperature; "
            f"got {reported}: {hint} again"
        )
    program = trace(RawClassifier(predictor.model, preprocessor, temperature=temperature), preprocessor)
    with atomic_folder(cfg.output) as folder:
        save_onnx(program, folder / ONNX_FILE)
        save_pt2(program, folder / PT2_FILE)
        found = {
            ONNX_FILE: run_batches(open_session(folder / ONNX_FILE), tested.inputs),
            PT2_FILE: predict_pt2(folder / PT2_FILE, tested.inputs),
        }
        expected = np.exp(log_probabilities)
        worst = max(compare(expected, values, name=name) for name, values in found.items())
        Manifest(
            table=closed_schema(schema, preprocessor),
            classes=classes,
            preprocessor=preprocessor,
            training=measure(train.inputs, train.labels, preprocessor=preprocessor, classes=classes),
            temperature=temperature,
            metrics=metrics,
            parity={"n_rows": len(expected), "max_difference": worst},
            run={
                "id": record.get("name", run.path.name),
                "started": record.get("started"),
                "seed": record.get("seed"),
                "git_commit": record.get("git", {}).get("commit"),
                "git_dirty": record.get("git", {}).get("dirty"),
                "n_parameters": sum(parameter.numel() for parameter in predictor.model.parameters()),
                # A run that was stopped does not know it.
                "train_seconds": record.get("training", {}).get("train_seconds"),
            },
            data=run.schema.sha256,
            versions={"canopy": __version__, "torch": version("torch"), "onnx_opset": OPSET},
            files={name: sha256(folder / name) for name in FILES},
        ).save(folder)


def predict_pt2(path: Path, rows: Inputs) -> NDArray[np.float32]:
    """Predict rows with the file in torch's format."""
    module = torch.export.load(path).module()
    batches = zip(*(torch.from_numpy(array).split(BATCH_SIZE) for array in rows), strict=True)
    with torch.inference_mode():
        return torch.cat([module(*batch) for batch in batches]).numpy()


def compare(expected: NDArray[np.float64], found: NDArray[np.float32], *, name: str) -> float:
    """Give the largest difference of probabilities, shape (n_rows, K), and refuse more than `TOLERANCE`."""
    worst = float(np.abs(expected - found).max())
    if not worst <= TOLERANCE:
        raise ValueError(
            f"{name} must give the probabilities of the run within {TOLERANCE:g}; got a difference of "
            f"{worst:.2g}: nothing was exported"
        )
    log.info("%s: the run's probabilities on all %d test rows, within %.1g", name, len(expected), worst)
    return worst

"""Freeze a run: write its bundle, and prove that the bundle predicts what the run predicts."""

from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig

from canopy import __version__
from canopy.evaluation.inference import Predictor
from canopy.export.graph import OPSET, RawClassifier, save_onnx, save_pt2, trace
from canopy.export.manifest import FILES, MANIFEST_FILE, ONNX_FILE, PT2_FILE, Manifest
from canopy.export.parity import check_same_scores, compare, predict_pt2
from canopy.export.rows import read_raw
from canopy.export.scorer import Scorer
from canopy.export.statistics import measure
from canopy.files import atomic_folder, read_json, sha256
from canopy.places import check_place, display_path
from canopy.prepare.interim import closed_schema, table_schema
from canopy.prepare.labels import class_values
from canopy.quoting import write_command
from canopy.runs.run import Run
from canopy.tasks.calibration import apply_temperature

BATCH_SIZE = 4096


class Metrics(NamedTuple):
    """The scores of a run: all, its temperature, and the ones that its predictions must give again."""

    content: dict[str, Any]
    temperature: float
    tested: dict[str, float]


def export(run: Run, cfg: DictConfig) -> Manifest:
    """Write a run's bundle."""
    check_place(cfg.output, option="output", marker=MANIFEST_FILE, reads=(run.path, cfg.metrics))
    metrics = read_metrics(Path(cfg.metrics), run)
    preprocessor, schema = run.preprocessor, table_schema(run.config.pipeline)
    classes = class_values(preprocessor.classes, schema)
    raw = read_raw(run)
    predictor = Predictor(run, batch_size=BATCH_SIZE, accelerator="cpu")
    predicted = predictor.predict(raw["test"].encoded).astype(float)
    log_probabilities = apply_temperature(predicted, metrics.temperature)
    check_same_scores(log_probabilities, raw["test"].labels, metrics.tested, path=Path(cfg.metrics))
    expected = np.exp(log_probabilities)
    graph = RawClassifier(predictor.model, preprocessor, temperature=metrics.temperature)
    with atomic_folder(cfg.output) as folder:
        program = trace(graph, preprocessor)
        save_onnx(program, folder / ONNX_FILE)
        save_pt2(program, folder / PT2_FILE)
        manifest = Manifest(
            table=closed_schema(schema, preprocessor),
            classes=classes,
            preprocessor=preprocessor,
            training=measure(
                raw["train"].inputs, raw["train"].labels, preprocessor=preprocessor, classes=classes
            ),
            temperature=metrics.temperature,
            metrics=metrics.content,
            parity={},
            run=describe_run(run, predictor.model),
            data=run.schema.sha256,
            versions={"canopy": __version__, "torch": version("torch"), "onnx_opset": OPSET},
            files={name: sha256(folder / name) for name in FILES},
        )
        manifest.save(folder)
        predictions = {
            ONNX_FILE: Scorer(folder).predict(raw["test"].inputs),
            PT2_FILE: predict_pt2(folder / PT2_FILE, raw["test"].inputs, batch_size=BATCH_SIZE),
        }
        differences = [compare(expected, values, name=name) for name, values in predictions.items()]
        parity = {"n_rows": len(expected), "max_difference": max(differences)}
        manifest = manifest.model_copy(update={"parity": parity})
        manifest.save(folder)
    return manifest


def read_metrics(path: Path, run: Run) -> Metrics:
    """Read the scores of a run; the bundle needs the temperature among them."""
    hint = f'run "{write_command("evaluate", run=display_path(run.path))}"'
    content = read_json(path, hint=hint)
    try:
        temperature = float(content["val"]["calibrated"]["temperature"])
        test = content["test"]
        tested = {"accuracy": float(test["accuracy"]), "calibrated.nll": float(test["calibrated"]["nll"])}
        for name, scores in test["per_class"].items():
            tested[f"recall of {name}"] = float(scores["recall"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} must hold scores of both splits and a temperature; got {error!r}: {hint}"
        ) from error
    return Metrics(content, temperature, tested)


def describe_run(run: Run, model: torch.nn.Module) -> dict[str, Any]:
    """Describe the run of a bundle; None is what a run does not know that was stopped before its end."""
    record = run.record
    git = record.get("git", {})
    return {
        "id": record.get("name", run.path.name),
        "started": record.get("started"),
        "seed": record.get("seed"),
        "git_commit": git.get("commit"),
        "git_dirty": git.get("dirty"),
        "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "train_seconds": record.get("training", {}).get("train_seconds"),
    }

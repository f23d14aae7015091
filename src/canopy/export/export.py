"""Freeze a run: write its bundle, and prove that the bundle says what the run says."""

import logging
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy import __version__
from canopy.data.dataset import load_rows
from canopy.evaluation.inference import Predictor
from canopy.export.graph import OPSET, RawClassifier, save_onnx, save_pt2, trace
from canopy.export.manifest import FILES, MANIFEST_FILE, ONNX_FILE, PT2_FILE, Manifest
from canopy.export.parity import check_same_rows, check_same_scores, compare, predict_pt2
from canopy.export.scorer import Scorer
from canopy.export.statistics import measure
from canopy.files import SPLITS, atomic_folder, read_json, sha256
from canopy.places import check_place, display_path
from canopy.prepare.interim import (
    SPLIT_COLUMN,
    closed_schema,
    interim_path,
    read_codes,
    table_schema,
    zip_rows,
)
from canopy.prepare.labels import class_values, labelled_rows
from canopy.prepare.preprocessor import Encoded, Inputs, Preprocessor
from canopy.quoting import write_command
from canopy.runs.run_folder import RunFolder, check_same_data
from canopy.tasks.calibration import apply_temperature

log = logging.getLogger(__name__)

BATCH_SIZE = 4096


@dataclass(frozen=True, kw_only=True)
class RawSplit:
    """The raw rows of a split.

    Attributes:
        inputs: What the graph reads of them.
        encoded: What the net reads of them.
        labels: Index of the class of each, shape (n_rows,).
    """

    inputs: Inputs
    encoded: Encoded
    labels: NDArray[np.int64]


def export(run: RunFolder, cfg: DictConfig) -> Manifest:
    """Write a run's bundle.

    Args:
        run: The run.
        cfg: The composed config of `configs/export.yaml`.

    Returns:
        What the bundle is.

    Raises:
        FileNotFoundError: If the run has not been evaluated, or its data is not there.
        ValueError: If the data or the scores are not the run's, or the bundle's predictions differ.
    """
    check_place(cfg.output, option="output", marker=MANIFEST_FILE, reads=(run.path, cfg.metrics))
    metrics = read_metrics(Path(cfg.metrics), run)
    temperature = float(metrics["val"]["calibrated"]["temperature"])
    config = run.located_config
    preprocessor = run.preprocessor
    data_folder = Path(config.data.folder)
    check_same_data(run, data_folder, splits=("val", "test"))
    raw = read_raw(config.pipeline, preprocessor)
    for split in ("val", "test"):
        # What is left are the training rows.
        found = raw[split]
        tensors = load_rows(data_folder, split, run.schema).rows
        check_same_rows(found.encoded, found.labels, tensors, split=split)
    tested = raw["test"]
    predictor = Predictor(run, batch_size=BATCH_SIZE, accelerator="cpu")
    predicted = predictor.predict(tested.encoded).astype(float)
    log_probabilities = apply_temperature(predicted, temperature)
    check_same_scores(log_probabilities, tested.labels, metrics, path=Path(cfg.metrics))
    expected = np.exp(log_probabilities)
    schema = table_schema(config.pipeline)
    classes = class_values(preprocessor.classes, schema)
    graph = RawClassifier(predictor.model, preprocessor, temperature=temperature)
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
            temperature=temperature,
            metrics=metrics,
            parity={},
            run=describe_run(run, predictor.model),
            data=run.schema.sha256,
            versions={"canopy": __version__, "torch": version("torch"), "onnx_opset": OPSET},
            files={name: sha256(folder / name) for name in FILES},
        )
        manifest.save(folder)
        predictions = {
            ONNX_FILE: Scorer(folder).predict(tested.inputs),
            PT2_FILE: predict_pt2(folder / PT2_FILE, tested.inputs, batch_size=BATCH_SIZE),
        }
        differences = [compare(expected, values, name=name) for name, values in predictions.items()]
        parity = {"n_rows": len(expected), "max_difference": max(differences)}
        manifest = manifest.model_copy(update={"parity": parity})
        manifest.save(folder)
    return manifest


def read_metrics(path: Path, run: RunFolder) -> dict[str, Any]:
    """Read the scores of a run; the bundle needs the temperature among them."""
    hint = f'run "{write_command("evaluate", run=display_path(run.path))}"'
    metrics: dict[str, Any] = read_json(path, hint=hint)
    try:
        for split in ("val", "test"):
            scores = metrics[split]
            reported = [scores["accuracy"], scores["calibrated"]["temperature"], scores["calibrated"]["nll"]]
            reported += [found["recall"] * found["support"] for found in scores["per_class"].values()]
            if not np.isfinite(np.array(reported, dtype=float)).all():
                raise ValueError(f"a score of {split} that is no number")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        found = f"no {error}" if isinstance(error, KeyError) else error
        raise ValueError(
            f"{path} must hold scores of both splits and a temperature; found {found}: {hint}"
        ) from error
    return metrics


def read_raw(pipeline: DictConfig, preprocessor: Preprocessor) -> dict[str, RawSplit]:
    """Read the raw table and the split of each of its rows.

    Raises:
        FileNotFoundError: If one of the two files is not there.
        ValueError: If they do not have the same rows.
    """
    schema, target = table_schema(pipeline), pipeline.table.target.column
    classes = pa.array([*preprocessor.classes])
    labelled = labelled_rows(pipeline.paths.raw, schema, classes=preprocessor.classes)
    [splits] = read_codes(interim_path(pipeline, "split"), SPLIT_COLUMN)
    parts: dict[str, list[RawSplit]] = {split: [] for split in SPLITS}
    for batch in zip_rows(labelled, SPLIT_COLUMN, *splits):
        for split, found in parts.items():
            rows = batch.filter(pc.equal(batch[SPLIT_COLUMN], split))
            labels = pc.index_in(rows[target], classes).to_numpy(zero_copy_only=False).astype(np.int64)
            inputs, encoded = preprocessor.inputs(rows), preprocessor.transform(rows)
            found.append(RawSplit(inputs=inputs, encoded=encoded, labels=labels))
    return {
        split: RawSplit(
            inputs=Inputs(*map(np.concatenate, zip(*(part.inputs for part in found), strict=True))),
            encoded=Encoded(*map(np.concatenate, zip(*(part.encoded for part in found), strict=True))),
            labels=np.concatenate([part.labels for part in found]),
        )
        for split, found in parts.items()
    }


def describe_run(run: RunFolder, model: torch.nn.Module) -> dict[str, Any]:
    """Tell which run a bundle is of; None is what a run does not know that was stopped before its end."""
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

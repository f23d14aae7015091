"""Freeze a run: write its bundle, and prove that the bundle predicts what the run predicts."""

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy import __version__
from canopy.data.dataset import load_rows
from canopy.evaluation.inference import Predictor
from canopy.export.graph import OPSET, RawModel, save_onnx, save_pt2, trace
from canopy.export.manifest import FILES, MANIFEST_FILE, ONNX_FILE, PT2_FILE, Manifest
from canopy.export.model_card import CARD_FILE, read_explanation, render_card
from canopy.export.scorer import open_session, run_batches
from canopy.export.statistics import measure
from canopy.files import SPLITS, atomic_folder, read_json, sha256, write_text
from canopy.places import check_place, display_path
from canopy.prepare import interim
from canopy.prepare.labels import class_values, labelled_rows
from canopy.prepare.preprocessor import Encoded, Inputs
from canopy.prepare.scaling import as_floats
from canopy.quoting import write_command
from canopy.runs.run import Run, check_same_data
from canopy.tasks.decision import stored_threshold
from canopy.tasks.task import Task, task_of

log = logging.getLogger(__name__)

BATCH_SIZE = 4096
# How far an answer of the bundle may be from the run's: see `Task.difference`.
TOLERANCE = 1e-5
# A score on another device may differ by a few rows; a number, by this share of it.
SCORE_TOLERANCE = 1e-4


def export(run: Run, cfg: DictConfig) -> None:
    """Write a run's bundle."""
    check_place(cfg.output, option="output", marker=MANIFEST_FILE, reads=(run.path, cfg.metrics))
    hint = f'run "{write_command("evaluate", run=display_path(run.path))}"'
    metrics = read_json(cfg.metrics, hint=hint)
    task = task_of(run.schema)
    try:
        fitted = task.read_calibration(metrics["val"]["calibrated"])
        reported = task.reproduced(metrics["test"], metrics["test"]["calibrated"])
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{cfg.metrics} must hold scores of both splits and a calibration; got {error!r}: {hint}"
        ) from error
    preprocessor, schema = run.preprocessor, interim.table_schema(run.config.pipeline)
    classes = {} if schema.target.is_numeric else class_values(preprocessor.classes, schema)
    raw, record = read_raw(run), run.record
    train, tested = raw["train"], raw["test"]
    predictor = Predictor(run, batch_size=BATCH_SIZE, accelerator="cpu")
    predicted = predictor.predict(tested.encoded).astype(float)
    calibrated = task.calibrate(predicted, tested.labels, fitted, tested.weights).report()
    own = task.reproduced(task.score(predicted, tested.labels, tested.weights).report(), calibrated)
    if not all(abs(own[name] - x) <= SCORE_TOLERANCE * max(1, abs(x)) for name, x in reported.items()):
        raise ValueError(
            f"{cfg.metrics} must hold the scores of this run, {own} on the test rows with its calibration; "
            f"got {reported}: {hint} again"
        )
    program = trace(RawModel(predictor.model, preprocessor, answer=task.answer_module(fitted)), preprocessor)
    with atomic_folder(cfg.output) as folder:
        save_onnx(program, folder / ONNX_FILE)
        save_pt2(program, folder / PT2_FILE)
        found = {
            ONNX_FILE: run_batches(open_session(folder / ONNX_FILE), tested.inputs),
            PT2_FILE: predict_pt2(folder / PT2_FILE, tested.inputs),
        }
        expected = task.answer(predicted, fitted)
        worst = max(compare(task, expected, values, name=name) for name, values in found.items())
        manifest = Manifest(
            table=interim.closed_schema(schema, preprocessor),
            classes=classes,
            preprocessor=preprocessor,
            training=measure(
                train.inputs,
                task.true_values(train.labels),
                train.weights,
                preprocessor=preprocessor,
                classes=classes,
            ),
            calibration=fitted,
            decision=stored_threshold(metrics["val"]),
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
        )
        manifest.save(folder)
        place = Path(cfg.explanation or Path(cfg.metrics).with_name("explanation.json"))
        explanation = read_explanation(place, metrics)
        write_text(folder / CARD_FILE, render_card(manifest, run, explanation))


def predict_pt2(path: Path, rows: Inputs) -> NDArray[Any]:
    """Predict rows with the file in torch's format."""
    module = torch.export.load(path).module()
    batches = zip(*(torch.split(torch.from_numpy(array), BATCH_SIZE) for array in rows), strict=True)
    with torch.inference_mode():
        return torch.cat([module(*batch) for batch in batches]).numpy()


def compare(task: Task, expected: NDArray[np.float64], found: NDArray[Any], *, name: str) -> float:
    """Give the largest difference of answers, shape (n_rows, P), and refuse more than `TOLERANCE`."""
    worst = task.difference(expected, found)
    if not worst <= TOLERANCE:
        raise ValueError(
            f"{name} must give the predictions of the run within {TOLERANCE:g}; got a difference of "
            f"{worst:.2g}: nothing was exported"
        )
    log.info("%s: the run's predictions on all %d rows, within %.1g", name, len(expected), worst)
    return worst


class RawSplit(NamedTuple):
    """The rows of a split: what graph and net read; label of each, (n_rows,), and weight, if it has one."""

    inputs: Inputs
    encoded: Encoded
    labels: NDArray[Any]
    weights: NDArray[np.float32] | None


def read_raw(run: Run, *, splits: Sequence[str] = ("val", "test")) -> dict[str, RawSplit]:
    """Read the raw table of a run by split, training rows before any cap; `splits` have to be the run's."""
    config, preprocessor = run.located_config, run.preprocessor
    pipeline, data_folder = config.pipeline, Path(config.data.folder)
    check_same_data(run, data_folder, splits=splits)
    target, weight = pipeline.table.target.column, interim.kept_schema(pipeline).weight
    labelled = labelled_rows(pipeline.paths.raw, interim.table_schema(pipeline), classes=preprocessor.classes)
    [codes] = interim.read_codes(interim.interim_path(pipeline, "split"), interim.SPLIT_COLUMN)
    parts: dict[str, list[tuple[NDArray[Any], ...]]] = {split: [] for split in SPLITS}
    for batch in interim.zip_rows(labelled, interim.SPLIT_COLUMN, *codes):
        for split, found in parts.items():
            rows = batch.filter(pc.equal(batch[interim.SPLIT_COLUMN], split))
            labels = preprocessor.labels(rows[target])
            own = [as_floats(rows[weight]).astype(np.float32)] if weight else []
            found.append((*preprocessor.inputs(rows), *preprocessor.transform(rows), labels, *own))
    raw = {}
    for split, found in parts.items():
        arrays = [np.concatenate(pieces) for pieces in zip(*found, strict=True)]
        weights = arrays[5] if weight else None
        raw[split] = RawSplit(Inputs(*arrays[:2]), Encoded(*arrays[2:4]), arrays[4], weights)
        tensors = arrays[2:] if split == "train" else load_rows(data_folder, split, run.schema).rows
        if not all(map(np.array_equal, arrays[2:], tensors)):
            raise ValueError(
                f"The raw rows of the split {split}, transformed, must be those of its tensors; got others: "
                'run "make repro", or restore the data of the run'
            )
    return raw

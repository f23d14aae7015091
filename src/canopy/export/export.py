"""Freeze a run: write its bundle, and prove that the bundle predicts what the run predicts."""

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

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
from canopy.export.scorer import open_session, run_batches
from canopy.export.statistics import measure
from canopy.files import SPLITS, atomic_folder, read_json, sha256
from canopy.places import check_place, display_path
from canopy.prepare import interim
from canopy.prepare.labels import class_values, labelled_rows
from canopy.prepare.preprocessor import Encoded, Inputs
from canopy.quoting import write_command
from canopy.runs.run import Run, check_same_data
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
    preprocessor, schema = run.preprocessor, interim.table_schema(run.config.pipeline)
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
            table=interim.closed_schema(schema, preprocessor),
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
    batches = zip(*(torch.split(torch.from_numpy(array), BATCH_SIZE) for array in rows), strict=True)
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
    log.info("%s: the run's probabilities on all %d rows, within %.1g", name, len(expected), worst)
    return worst


class RawSplit(NamedTuple):
    """The rows of a split: what the graph and the net read, and the class of each, shape (n_rows,)."""

    inputs: Inputs
    encoded: Encoded
    labels: NDArray[np.int64]


def read_raw(run: Run, *, splits: Sequence[str] = ("val", "test")) -> dict[str, RawSplit]:
    """Read the raw table of a run by split, training rows before any cap; `splits` have to be the run's."""
    config, preprocessor = run.located_config, run.preprocessor
    pipeline, data_folder = config.pipeline, Path(config.data.folder)
    check_same_data(run, data_folder, splits=splits)
    target, classes = pipeline.table.target.column, pa.array(preprocessor.classes)
    labelled = labelled_rows(pipeline.paths.raw, interim.table_schema(pipeline), classes=preprocessor.classes)
    [codes] = interim.read_codes(interim.interim_path(pipeline, "split"), interim.SPLIT_COLUMN)
    parts: dict[str, list[tuple[NDArray[Any], ...]]] = {split: [] for split in SPLITS}
    for batch in interim.zip_rows(labelled, interim.SPLIT_COLUMN, *codes):
        for split, found in parts.items():
            rows = batch.filter(pc.equal(batch[interim.SPLIT_COLUMN], split))
            labels = pc.index_in(rows[target], classes).to_numpy(zero_copy_only=False).astype(np.int64)
            found.append((*preprocessor.inputs(rows), *preprocessor.transform(rows), labels))
    raw = {}
    for split, found in parts.items():
        arrays = [np.concatenate(pieces) for pieces in zip(*found, strict=True)]
        raw[split] = RawSplit(Inputs(*arrays[:2]), Encoded(*arrays[2:4]), arrays[4])
        tensors = arrays[2:] if split == "train" else load_rows(data_folder, split, run.schema).rows
        if not all(map(np.array_equal, arrays[2:], tensors)):
            raise ValueError(
                f"The raw rows of the split {split}, transformed, must be those of its tensors; got others: "
                'run "make repro", or restore the data of the run'
            )
    return raw

"""Freeze a run: write its bundle, and prove that the bundle says what the run says."""

import logging
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import torch
from omegaconf import DictConfig

from canopy import __version__
from canopy.bundle.graph import OPSET, RawClassifier, save_onnx, save_pt2, trace
from canopy.bundle.manifest import FILES, MANIFEST_FILE, ONNX_FILE, PT2_FILE, Manifest
from canopy.bundle.parity import check_same_rows, check_same_scores, compare, predict_pt2
from canopy.bundle.scorer import Scorer
from canopy.bundle.statistics import bounded, measure
from canopy.data.dataset import load_rows
from canopy.data.encoding import Encoded
from canopy.data.schema import NORMALIZATION_FILE
from canopy.evaluation.calibration import apply_temperature
from canopy.evaluation.inference import Predictor
from canopy.evaluation.predict import as_matrix, check_run
from canopy.files import atomic_folder, read_json, sha256
from canopy.places import check_place, readable, require_file
from canopy.prepare.normalization import load_normalization
from canopy.quoting import write_command
from canopy.table.kept import kept_table
from canopy.table.raw import read_raw_table
from canopy.table.spec import SPLIT_COLUMN, SPLITS, TableSpec
from canopy.training.run_folder import RunFolder, check_same_data

log = logging.getLogger(__name__)

BATCH_SIZE = 4096


@dataclass(frozen=True, kw_only=True)
class RawSplits:
    """The raw rows that a run was trained and is tested on.

    Attributes:
        train: Training rows, before any class was cut.
        val: Validation rows.
        test: Test rows.
    """

    train: pa.Table
    val: pa.Table
    test: pa.Table


def export(run: RunFolder, cfg: DictConfig) -> Manifest:
    """Write a run's bundle.

    Args:
        run: The run.
        cfg: The composed config of `configs/export.yaml`.

    Returns:
        What the bundle is.

    Raises:
        FileNotFoundError: If the run has not been evaluated, or its data is not there.
        ValueError: If the data or the scores are not the run's, or the bundle does not say the same.
    """
    check_place(cfg.output, option="output", marker=MANIFEST_FILE, reads=(run.path, cfg.metrics))
    metrics = read_metrics(Path(cfg.metrics), run)
    temperature = float(metrics["val"]["calibrated"]["temperature"])
    config = run.located_config
    pipeline = config.pipeline
    raw, kept = TableSpec.from_config(pipeline.table), kept_table(pipeline)
    scalings = load_normalization(run.path / NORMALIZATION_FILE)
    check_run(run, kept, run.schema, scalings)
    data_folder = Path(config.data.folder)
    check_same_data(run, data_folder, splits=("val", "test"))
    tested = load_rows(data_folder, "test", run.schema).rows
    rows = read_raw(pipeline, raw)
    check_same_rows(rows.test, tested, kept, scalings, split="test")
    # What is left are the training rows.
    check_same_rows(rows.val, load_rows(data_folder, "val", run.schema).rows, kept, scalings, split="val")
    predictor = Predictor(run, batch_size=BATCH_SIZE, accelerator="cpu")
    expected = np.exp(
        apply_temperature(
            predictor.predict(Encoded(tested.numeric.numpy(), tested.categorical.numpy())).astype(float),
            temperature,
        )
    )
    check_same_scores(expected, tested.labels.numpy(), metrics, path=Path(cfg.metrics))
    training = measure(rows.train, raw)
    graph = RawClassifier(predictor.model, table=raw, kept=kept, scalings=scalings, temperature=temperature)
    with atomic_folder(cfg.output) as folder:
        program = trace(graph, n_inputs=len(raw.inputs))
        save_onnx(program, folder / ONNX_FILE)
        save_pt2(program, folder / PT2_FILE)
        manifest = Manifest(
            title=pipeline.table.title,
            about=pipeline.table.about,
            table=bounded(raw, training.numeric),
            unused=tuple(name for name in raw.inputs if name not in kept.features),
            training=training,
            temperature=temperature,
            metrics=metrics,
            parity={},
            run=describe_run(run, predictor.model),
            data=run.schema.sha256,
            versions={
                "canopy": __version__,
                "torch": version("torch"),
                "onnx_opset": OPSET,
            },
            files={name: sha256(folder / name) for name in FILES},
        )
        manifest.save(folder)
        matrix = as_matrix(rows.test, raw)
        differences = {
            ONNX_FILE: compare(expected, Scorer(folder).predict(matrix), name=ONNX_FILE),
            PT2_FILE: compare(
                expected, predict_pt2(folder / PT2_FILE, matrix, batch_size=BATCH_SIZE), name=PT2_FILE
            ),
        }
        manifest = replace(
            manifest, parity={"n_rows": len(matrix), "max_difference": max(differences.values())}
        )
        manifest.save(folder)
    return manifest


def read_metrics(path: Path, run: RunFolder) -> dict[str, Any]:
    """Read the scores of a run; the bundle needs the temperature among them."""
    way_out = f'run "{write_command("evaluate", run=readable(run.path))}"'
    metrics: dict[str, Any] = read_json(path, way_out=way_out)
    try:
        for split in ("val", "test"):
            scores = metrics[split]
            told = [scores["accuracy"], scores["calibrated"]["temperature"], scores["calibrated"]["nll"]]
            told += [found["recall"] * found["support"] for found in scores["per_class"].values()]
            if not np.isfinite(np.array(told, dtype=float)).all():
                raise ValueError(f"a score of {split} that is no number")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        found = f"no {error}" if isinstance(error, KeyError) else error
        raise ValueError(
            f"{path} must hold scores of both splits and a temperature; found {found}: {way_out}"
        ) from error
    return metrics


def read_raw(pipeline: DictConfig, spec: TableSpec) -> RawSplits:
    """Read the raw table and the split of each of its rows.

    Raises:
        FileNotFoundError: If one of the two files is not there.
        ValueError: If they do not have the same rows.
    """
    table = read_raw_table(pipeline.paths.raw, spec)
    path = Path(pipeline.paths.interim) / "split.csv"
    require_file(path, hint='run "make repro" first')
    options = pa.csv.ConvertOptions(include_columns=[SPLIT_COLUMN])
    splits = pa.csv.read_csv(path, convert_options=options)[SPLIT_COLUMN]
    if len(splits) != table.num_rows:
        raise ValueError(
            f"{path} must have the {table.num_rows:,} rows of {pipeline.paths.raw}; found {len(splits):,}: "
            'run "make repro"'
        )
    return RawSplits(**{name: table.filter(pc.equal(splits, name)) for name in SPLITS})


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

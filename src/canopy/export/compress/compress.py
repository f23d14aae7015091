"""Make smaller models of a run, measure them all, and write the bundle of the one that is to be served."""

import logging
import math
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from canopy.data.dataset import load_rows
from canopy.export.compress.graphs import Graph, make_graphs
from canopy.export.compress.measure import predict, row_difference, score, time_graphs
from canopy.export.compress.plot import draw_variants
from canopy.export.compress.variants import Variant, choose, compare, pareto_front
from canopy.export.export import RawSplit, read_raw
from canopy.export.manifest import MANIFEST_FILE, ONNX_FILE, Manifest
from canopy.export.parity import check_same_rows
from canopy.export.scorer import BATCH_SIZE
from canopy.files import atomic_folder, sha256, write_json
from canopy.params import check_params, load_params
from canopy.places import check_place, display_path
from canopy.preset import Size, settle
from canopy.quoting import write_command
from canopy.runs.environment import describe_machine
from canopy.runs.processes import log_once
from canopy.runs.run_folder import RunFolder, check_same_data
from canopy.tasks.scores import Scores
from canopy.training.callbacks.confusion_matrix import save_figure

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A variant, and the scores that its bundle would have."""

    variant: Variant
    scores: dict[str, Scores]
    predictions: NDArray[np.float32]


def compress(run: RunFolder, cfg: DictConfig) -> dict[str, Any]:
    """Write the report on a run's smaller models, its plot, and the bundle of the one that is chosen.

    Args:
        run: The run.
        cfg: The composed config of `configs/compress.yaml`.

    Returns:
        What the report holds.

    Raises:
        FileNotFoundError: If the run's bundle or its data is not there.
        ValueError: If the bundle or the data is not the run's, or an option is out of its range.
    """
    log_once()
    settle(cfg, Size.of(run.schema))
    check_options(cfg, run)
    budget = read_budget(cfg, run)
    manifest = read_bundle(Path(cfg.bundle), run)
    data_folder = Path(run.located_config.data.folder)
    check_same_data(run, data_folder, splits=("train", "val", "test"))
    rows = read_raw(run.located_config.pipeline, manifest.preprocessor)
    for split in ("val", "test"):
        tensors = load_rows(data_folder, split, run.schema).rows
        check_same_rows(rows[split].encoded, rows[split].labels, tensors, split=split)
    training = rows.pop("train").inputs
    few = np.linspace(0, len(training.numeric) - 1, cfg.n_calibration_rows).astype(np.int64)
    calibration = training.take(few)
    with TemporaryDirectory() as scratch:
        graphs = make_graphs(run, cfg, manifest, calibration, folder=Path(scratch))
        measured = measure(graphs, rows, manifest)
        variants = [item.variant for item in measured]
        chosen = choose(variants, **budget)
        report = {
            **budget,
            "chosen": chosen.name,
            "pareto_front": pareto_front(variants),
            "variants": compare(variants),
            "run": manifest.run["id"],
            "batch": BATCH_SIZE,
            "machine": describe_machine(),
            "versions": {name: version(name) for name in ("onnxruntime", "torch")},
        }
        least = variants[0].val_accuracy - budget["max_accuracy_drop"]
        save_figure(draw_variants(variants, chosen=chosen, least=least), Path(cfg.plot))
        write_json(cfg.report, report)
        found = next(item for item in measured if item.variant is chosen)
        with atomic_folder(cfg.output) as folder:
            graph = graphs[chosen.name]
            (folder / ONNX_FILE).write_bytes(graph.path.read_bytes())
            describe(manifest, found, graph, whole=measured[0]).save(folder)
    tell(variants, chosen, Path(cfg.output))
    log.info("The comparison: %s, %s", display_path(cfg.report), display_path(cfg.plot))
    return report


def check_options(cfg: DictConfig, run: RunFolder) -> None:
    """Refuse what would fail only after minutes of training.

    Raises:
        ValueError: If an option is out of its range, or the result would take the place of something else.
    """
    check_place(cfg.output, option="output", marker=MANIFEST_FILE, reads=(run.path, cfg.bundle))
    for name in ("n_calibration_rows", "prune.epochs", "distil.epochs"):
        if type(value := OmegaConf.select(cfg, name)) is not int or value < 1:
            raise ValueError(f"{name} must be an integer >= 1; found {value!r}")
    for name, most in (("teacher_weight", 1.0), ("prune.keep", 1.0), ("prune.lr_factor", math.inf)):
        value = OmegaConf.select(cfg, name)
        if type(value) not in (int, float) or not 0 <= value <= most:
            raise ValueError(f"{name} must be a number from 0 to {most:g}; found {value!r}")


def read_budget(cfg: DictConfig, run: RunFolder) -> dict[str, float]:
    """Read what a smaller model may cost: from the config, or from the params.yaml of the run's project.

    Raises:
        ValueError: If a number is missing or below 0.
    """
    given = {key: value for key, value in cfg.compress.items() if value is not None}
    if len(given) < len(cfg.compress):
        given = {**load_params(run.project).compress, **given}
    checked = check_params({**run.config.pipeline, "compress": given}).compress
    budget: dict[str, float] = {str(key): value for key, value in checked.items()}
    for key, value in budget.items():
        if not value >= 0:
            raise ValueError(f"compress.{key} must be at least 0; found {value}")
    return budget


def read_bundle(folder: Path, run: RunFolder) -> Manifest:
    """Read what the bundle of a run is, and refuse another's."""
    manifest = Manifest.load(folder)
    manifest.check_files(folder, (ONNX_FILE,))
    found, name = manifest.run["id"], run.record["name"]
    if found != name or manifest.data != run.schema.sha256:
        raise ValueError(
            f"{folder} must be the bundle of the run {name}; found that of {found}: make it with "
            f'"{write_command("export", run=display_path(run.path), output=folder)}"'
        )
    if manifest.compression is not None:
        raise ValueError(
            f"{folder} must be a whole model; found one that is compressed: {manifest.compression['variant']}"
        )
    return manifest


def measure(graphs: dict[str, Graph], rows: dict[str, RawSplit], manifest: Manifest) -> list[Measured]:
    """Score all graphs on validation and test rows, and time them.

    Args:
        graphs: By name.
        rows: Raw rows of `val` and `test`.
        manifest: The bundle that the graphs are variants of.
    """
    names = tuple(manifest.classes.values())
    shares = manifest.training.classes
    rarest = names.index(min(shares, key=lambda name: shares[name]))
    speeds = time_graphs(
        {name: graph.path for name, graph in graphs.items()}, rows["test"].inputs.take(slice(BATCH_SIZE))
    )
    measured = []
    for name, graph in graphs.items():
        predictions = {split: predict(graph.path, found.inputs) for split, found in rows.items()}
        scores = {split: score(predictions[split], found.labels, names) for split, found in rows.items()}
        variant = Variant(
            name=name,
            how=graph.how,
            n_bytes=graph.path.stat().st_size,
            val_accuracy=scores["val"].accuracy,
            val_nll=scores["val"].nll,
            accuracy=scores["test"].accuracy,
            macro_f1=scores["test"].macro_f1,
            rarest_recall=float(scores["test"].recall[rarest]),
            nll=scores["test"].nll,
            row_difference=row_difference(graph.path, rows["val"].inputs.take(slice(BATCH_SIZE))),
            speeds=speeds[name],
        )
        measured.append(Measured(variant=variant, scores=scores, predictions=predictions["test"]))
    return measured


def describe(manifest: Manifest, found: Measured, graph: Graph, *, whole: Measured) -> Manifest:
    """Describe the bundle of a variant: its own scores, the rest as the whole model's bundle has it."""
    metrics = {}
    for split, scores in found.scores.items():
        report = scores.report()
        calibrated = {"temperature": graph.temperature, "nll": report["nll"], "ece": report["ece"]}
        metrics[split] = {**report, "calibrated": calibrated}
    difference = np.abs(found.predictions - whole.predictions).max()
    compression = {
        "variant": found.variant.name,
        "how": graph.how,
        "whole": manifest.files[ONNX_FILE],
        "accuracy_drop": whole.variant.accuracy - found.variant.accuracy,
    }
    return manifest.model_copy(
        update={
            "temperature": graph.temperature,
            "metrics": metrics,
            "parity": {"n_rows": len(found.predictions), "max_difference": float(difference)},
            "versions": {**manifest.versions, "onnxruntime": version("onnxruntime")},
            "files": {ONNX_FILE: sha256(graph.path)},
            "compression": compression,
        }
    )


def tell(variants: list[Variant], chosen: Variant, output: Path) -> None:
    """Say what was measured, a line for each variant, and what is served."""
    width = max(len(variant.name) for variant in variants)
    for item in compare(variants):
        one, *_ = item["speeds"]
        log.info(
            "%-*s  test accuracy %.4f, %6.1f kB, %7.1f us a row, %6.2f ms for %s rows",
            width,
            item["name"],
            item["accuracy"],
            item["n_bytes"] / 1e3,
            one["one_row_us"],
            one["batch_ms"],
            f"{BATCH_SIZE:,}",
        )
    log.info(
        "Served is the smallest within the budget that is batch-invariant: %s, in %s",
        chosen.name,
        output,
    )

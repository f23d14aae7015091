"""Make smaller models of a run, measure them all, and write the bundle of the one that is to be served."""

import logging
import math
import shutil
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from canopy.export.compress.graphs import Graph, make_graphs
from canopy.export.compress.measure import predict, row_difference, time_graphs
from canopy.export.compress.plot import draw_variants
from canopy.export.compress.variants import Speed, Variant, choose, compare, pareto_front
from canopy.export.manifest import MANIFEST_FILE, ONNX_FILE, Manifest
from canopy.export.rows import RawSplit, read_raw
from canopy.export.scorer import BATCH_SIZE
from canopy.files import atomic_folder, sha256, write_json
from canopy.params import check_params, load_params
from canopy.places import check_place, display_path
from canopy.preset import Size, settle
from canopy.quoting import write_command
from canopy.runs.distributed import log_once
from canopy.runs.environment import describe_machine
from canopy.runs.run import Run
from canopy.tasks.metrics import score
from canopy.tasks.scores import Scores
from canopy.training.callbacks.confusion_matrix import save_figure

log = logging.getLogger(__name__)


class Measured(NamedTuple):
    """A variant, the scores of its bundle, and its probabilities of the test rows."""

    variant: Variant
    scores: dict[str, Scores]
    predicted: NDArray[np.float32]


def compress(run: Run, cfg: DictConfig) -> dict[str, Any]:
    """Write the report on a run's smaller models, its plot, and the bundle of the one that is chosen."""
    log_once()
    settle(cfg, Size.of(run.schema))
    check_options(cfg, run)
    budget = read_budget(cfg, run)
    manifest = read_bundle(Path(cfg.bundle), run)
    rows = read_raw(run, splits=("train", "val", "test"))
    training = rows.pop("train").inputs
    few = np.linspace(0, len(training.numeric) - 1, cfg.n_calibration_rows).astype(np.int64)
    with TemporaryDirectory() as scratch:
        graphs = make_graphs(run, cfg, manifest, training.take(few), folder=Path(scratch))
        paths = {name: graph.path for name, graph in graphs.items()}
        speeds = time_graphs(paths, rows["test"].inputs.take(slice(BATCH_SIZE)))
        measured = [
            measure(name, graph, rows, manifest, speeds=speeds[name]) for name, graph in graphs.items()
        ]
        variants = [variant for variant, *_ in measured]
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
        with atomic_folder(cfg.output) as folder:
            shutil.copyfile(paths[chosen.name], folder / ONNX_FILE)
            found = measured[variants.index(chosen)]
            describe(manifest, found, graphs[chosen.name], whole=measured[0]).save(folder)
    for item in report["variants"]:
        log.info(
            "%-23s  test accuracy %.4f, %6.1f kB, %7.1f us a row, %6.2f ms for %s rows",
            item["name"],
            item["accuracy"],
            item["n_bytes"] / 1e3,
            item["speeds"][0]["one_row_us"],
            item["speeds"][0]["batch_ms"],
            f"{BATCH_SIZE:,}",
        )
    served = "Served is the smallest within the budget that is batch-invariant: %s, in %s"
    log.info(served, chosen.name, cfg.output)
    log.info("The comparison: %s, %s", display_path(cfg.report), display_path(cfg.plot))
    return report


def check_options(cfg: DictConfig, run: Run) -> None:
    """Refuse what would fail only after minutes of training."""
    check_place(cfg.output, option="output", marker=MANIFEST_FILE, reads=(run.path, cfg.bundle))
    for name in ("n_calibration_rows", "prune.epochs", "distil.epochs"):
        if type(value := OmegaConf.select(cfg, name)) is not int or value < 1:
            raise ValueError(f"{name} must be an integer >= 1; got {value!r}")
    for name, most in (("teacher_weight", 1.0), ("prune.keep", 1.0), ("prune.lr_factor", math.inf)):
        value = OmegaConf.select(cfg, name)
        if type(value) not in (int, float) or not 0 <= value <= most:
            raise ValueError(f"{name} must be a number from 0 to {most:g}; got {value!r}")
    if not cfg.prune.keep:
        raise ValueError(f"prune.keep must be above 0; got {cfg.prune.keep}")


def read_budget(cfg: DictConfig, run: Run) -> dict[str, float]:
    """Read what a smaller model may cost: from the config, or from the params.yaml of the run's project."""
    given = {key: value for key, value in cfg.compress.items() if value is not None}
    if len(given) < len(cfg.compress):
        given = {**load_params(run.project).compress, **given}
    checked = check_params({**run.config.pipeline, "compress": given}).compress
    budget = {str(key): float(value) for key, value in checked.items()}
    for key, value in budget.items():
        if not value >= 0:
            raise ValueError(f"compress.{key} must be at least 0; got {value:g}")
    return budget


def read_bundle(folder: Path, run: Run) -> Manifest:
    """Read what the bundle of a run is, and refuse another's."""
    manifest = Manifest.load(folder)
    manifest.check_files(folder, (ONNX_FILE,))
    found, name = manifest.run["id"], run.record["name"]
    if found != name or manifest.data != run.schema.sha256:
        raise ValueError(
            f"{folder} must be the bundle of the run {name}; got that of {found}: make it with "
            f'"{write_command("export", run=display_path(run.path), output=folder)}"'
        )
    if manifest.compression is not None:
        raise ValueError(
            f"{folder} must be a whole model; got one that is compressed: {manifest.compression['variant']}"
        )
    return manifest


def measure(
    name: str, graph: Graph, rows: dict[str, RawSplit], manifest: Manifest, *, speeds: list[Speed]
) -> Measured:
    """Score a graph on validation and test rows, as an evaluation does."""
    shares = manifest.training.classes
    scores, predicted = {}, {}
    for split, found in rows.items():
        predicted[split] = predict(graph.path, found.inputs)
        scores[split] = score(predicted[split], found.labels, tuple(manifest.classes.values()))
    val, test = scores["val"], scores["test"]
    variant = Variant(
        name=name,
        how=graph.how,
        n_bytes=graph.path.stat().st_size,
        val_accuracy=val.accuracy,
        val_nll=val.nll,
        accuracy=test.accuracy,
        macro_f1=test.macro_f1,
        rarest_recall=float(test.recall[np.argmin([*shares.values()])]),
        nll=test.nll,
        row_difference=row_difference(graph.path, rows["val"].inputs.take(slice(BATCH_SIZE))),
        speeds=speeds,
    )
    return Measured(variant, scores, predicted["test"])


def describe(manifest: Manifest, found: Measured, graph: Graph, *, whole: Measured) -> Manifest:
    """Describe the bundle of a variant: its own scores, the rest as the whole model's bundle has it."""
    metrics = {}
    for split, scores in found.scores.items():
        calibrated = {"temperature": graph.temperature, "nll": scores.nll, "ece": scores.ece}
        metrics[split] = {**scores.report(), "calibrated": calibrated}
    difference = np.abs(found.predicted - whole.predicted).max()
    return manifest.model_copy(
        update={
            "temperature": graph.temperature,
            "metrics": metrics,
            "parity": {"n_rows": len(found.predicted), "max_difference": float(difference)},
            "versions": {**manifest.versions, "onnxruntime": version("onnxruntime")},
            "files": {ONNX_FILE: sha256(graph.path)},
            "compression": {
                "variant": found.variant.name,
                "how": graph.how,
                "whole": manifest.files[ONNX_FILE],
                "accuracy_drop": whole.variant.accuracy - found.variant.accuracy,
            },
        }
    )

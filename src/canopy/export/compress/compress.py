"""Make smaller models of a run, measure them all, and write the bundle of the one that is to be served."""

import logging
import shutil
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from omegaconf import DictConfig

from canopy.export.compress.measure import choose, draw_variants, predict, time_graphs
from canopy.export.compress.variants import Variant, make_variants
from canopy.export.manifest import MANIFEST_FILE, ONNX_FILE, Manifest
from canopy.export.rows import RawSplit, read_raw
from canopy.export.scorer import BATCH_SIZE
from canopy.files import SPLITS, atomic_folder, sha256, write_json
from canopy.params import load_params
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


def compress(run: Run, cfg: DictConfig) -> dict[str, Any]:
    """Write the report on a run's smaller models, its plot, and the bundle of the one that is chosen."""
    log_once()
    settle(cfg, Size.of(run.schema))
    check_place(cfg.output, option="output", marker=MANIFEST_FILE, reads=(run.path, cfg.bundle))
    budget = read_budget(cfg, run)
    manifest = read_bundle(Path(cfg.bundle), run)
    rows = read_raw(run, splits=SPLITS)
    training = rows.pop("train").inputs
    few = np.linspace(0, len(training.numeric) - 1, cfg.n_calibration_rows).astype(np.int64)
    rarest = int(np.argmin([*manifest.training.classes.values()]))
    with TemporaryDirectory() as scratch:
        variants = [*make_variants(run, cfg, manifest, training.take(few), folder=Path(scratch))]
        speeds = time_graphs({item.name: item.path for item in variants}, rows["test"].inputs)
        scores = {item.name: score_variant(item, rows, manifest) for item in variants}
        measured: list[dict[str, Any]] = []
        for item in variants:
            val, test = scores[item.name]["val"], scores[item.name]["test"]
            found: dict[str, Any] = {
                "name": item.name,
                "how": item.how,
                "n_bytes": item.path.stat().st_size,
                "val_accuracy": val.accuracy,
                "val_nll": val.nll,
                "accuracy": test.accuracy,
                "macro_f1": test.macro_f1,
                "rarest_recall": float(test.recall[rarest]),
                "nll": test.nll,
                "speeds": speeds[item.name],
            }
            whole = measured[0] if measured else found
            batch_ms = [one["speeds"][0]["batch_ms"] for one in (whole, found)]
            found["accuracy_drop"] = round(whole["accuracy"] - found["accuracy"], 6)
            found["times_smaller"] = round(whole["n_bytes"] / found["n_bytes"], 2)
            found["times_faster"] = round(batch_ms[0] / batch_ms[1], 2)
            measured.append(found)
        chosen = choose(measured, **budget)
        report = {
            **budget,
            "chosen": chosen["name"],
            "variants": measured,
            "run": manifest.run["id"],
            "batch": BATCH_SIZE,
            "machine": describe_machine(),
            "versions": {name: version(name) for name in ("onnxruntime", "torch")},
        }
        figure = draw_variants(measured, chosen=chosen, budget=budget["max_accuracy_drop"])
        save_figure(figure, Path(cfg.plot))
        write_json(cfg.report, report)
        served = variants[measured.index(chosen)]
        probabilities, expected = (predict(item.path, rows["test"].inputs) for item in (served, variants[0]))
        with atomic_folder(cfg.output) as folder:
            shutil.copyfile(served.path, folder / ONNX_FILE)
            difference = float(np.abs(probabilities - expected).max())
            changes = {
                "temperature": served.temperature,
                "metrics": {split: describe(one, served) for split, one in scores[served.name].items()},
                "parity": {"n_rows": len(expected), "max_difference": difference},
                "versions": {**manifest.versions, "onnxruntime": version("onnxruntime")},
                "files": {ONNX_FILE: sha256(served.path)},
                "compression": {
                    "variant": served.name,
                    "how": served.how,
                    "whole": manifest.files[ONNX_FILE],
                    "accuracy_drop": chosen["accuracy_drop"],
                },
            }
            manifest.model_copy(update=changes).save(folder)
    log.info("Served: %s, in %s; the comparison: %s, %s", served.name, cfg.output, cfg.report, cfg.plot)
    return report


def read_budget(cfg: DictConfig, run: Run) -> dict[str, float]:
    """Read what a smaller model may cost: from the config, or from the params.yaml of the run's project."""
    budget = {
        str(key): load_params(run.project).compress[key] if value is None else value
        for key, value in cfg.compress.items()
    }
    for key, value in budget.items():
        if not (isinstance(value, int | float) and value >= 0):
            raise ValueError(f"compress.{key} must be a number, at least 0; got {value}")
    return budget


def read_bundle(folder: Path, run: Run) -> Manifest:
    """Read what the bundle of a run is, and refuse another's."""
    manifest = Manifest.load(folder)
    manifest.check_files(folder, (ONNX_FILE,))
    found, name = manifest.run["id"], run.record["name"]
    if found != name or manifest.data != run.schema.sha256 or manifest.compression is not None:
        what = "" if manifest.compression is None else "compressed "
        raise ValueError(
            f"{folder} must be the bundle of the run {name}; got a {what}bundle of {found}: make it with "
            f'"{write_command("export", run=display_path(run.path), output=folder)}"'
        )
    return manifest


def score_variant(variant: Variant, rows: dict[str, RawSplit], manifest: Manifest) -> dict[str, Scores]:
    """Score a variant on validation and test rows, as an evaluation does."""
    names = tuple(manifest.classes.values())
    return {
        split: score(predict(variant.path, found.inputs), found.labels, names)
        for split, found in rows.items()
    }


def describe(scores: Scores, variant: Variant) -> dict[str, Any]:
    """Give scores as `metrics.json` has them, of predictions with the temperature inside."""
    calibrated = {"temperature": variant.temperature, "nll": scores.nll, "ece": scores.ece}
    return {**scores.report(), "calibrated": calibrated}

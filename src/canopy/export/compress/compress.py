"""Make smaller models of a run, measure them all, and write the bundle of the one that is to be served."""

import logging
import shutil
import statistics
import timeit
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy.cores import usable_cores
from canopy.export.compress.variants import Variant, make_variants
from canopy.export.export import read_raw
from canopy.export.manifest import MANIFEST_FILE, ONNX_FILE, OUTPUT, Manifest
from canopy.export.model_card import CARD_FILE, render_card
from canopy.export.scorer import BATCH_SIZE, batches, open_session, run_batches
from canopy.files import SPLITS, atomic_folder, sha256, write_json, write_text
from canopy.params import check_params, load_params
from canopy.places import check_place, display_path
from canopy.prepare.preprocessor import Inputs
from canopy.preset import Size, settle
from canopy.quoting import write_command
from canopy.runs.distributed import log_once
from canopy.runs.environment import describe_machine
from canopy.runs.run import Run
from canopy.tasks.decision import Decider
from canopy.tasks.task import task_of
from canopy.training.callbacks.figures import save_figure

log = logging.getLogger(__name__)

# Of a turn, by the number of rows of a call.
N_CALLS = {1: 200, BATCH_SIZE: 10}
N_TURNS = 10

# Of a graph, with one thread and with one on each core.
Speeds = list[dict[str, float]]


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
    task = task_of(run.schema)
    with TemporaryDirectory() as scratch:
        variants = [*make_variants(run, cfg, manifest, training.take(few), folder=Path(scratch))]
        speeds = time_graphs({item.name: item.path for item in variants}, rows["test"].inputs)
        scores: dict[str, dict[str, Any]] = {item.name: {} for item in variants}
        for item, (split, found) in product(variants, rows.items()):
            # Ends of intervals, behind the predictions, are left out.
            answers = predict(item.path, found.inputs)[:, : task.n_outputs]
            scores[item.name][split] = task.score(answers, found.labels, found.weights)
        rarest = int(np.argmin([*manifest.training.classes.values()])) if manifest.classes else None
        measured = describe(variants, scores, speeds, rarest=rarest)
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
        figure = draw_variants(measured, chosen=chosen, budget=budget)
        save_figure(figure, Path(cfg.plot))
        write_json(cfg.report, report)
        served = variants[measured.index(chosen)]
        metrics: dict[str, Any] = {}
        decider = None if manifest.decision is None else Decider(manifest.decision["goal"])
        # The validation rows are the first.
        for split, one in scores[served.name].items():
            # As `metrics.json` has them; the calibration is inside.
            answers = predict(served.path, rows[split].inputs).astype(float)
            own = rows[split]
            calibrated = task.score_answers(answers, task.true_values(own.labels), own.weights)
            metrics[split] = {**one.report(), "calibrated": {**served.fitted, **calibrated}}
            if decider is not None:
                decider.score(split, answers[:, 1], own.labels, weights=own.weights)
                metrics[split]["decision"] = decider.reports[split]
        found, expected = (predict(item.path, rows["test"].inputs) for item in (served, variants[0]))
        difference = task.difference(expected.astype(float), found)
        changes: dict[str, Any] = {
            "calibration": served.fitted,
            "decision": None if decider is None else decider.fitted,
            "metrics": metrics,
            "parity": {"n_rows": len(expected), "max_difference": difference},
            "versions": {**manifest.versions, "onnxruntime": version("onnxruntime")},
            "files": {ONNX_FILE: sha256(served.path)},
            "compression": {
                "variant": served.name,
                "how": served.how,
                "whole": manifest.files[ONNX_FILE],
                **{key: chosen[key] for key in ("accuracy_drop", "rmse_increase") if key in chosen},
            },
        }
        with atomic_folder(cfg.output) as folder:
            shutil.copyfile(served.path, folder / ONNX_FILE)
            manifest = manifest.model_copy(update=changes)
            manifest.save(folder)
            write_text(folder / CARD_FILE, render_card(manifest, run))
    log.info("Served: %s, in %s; the comparison: %s, %s", served.name, cfg.output, cfg.report, cfg.plot)
    return report


def read_budget(cfg: DictConfig, run: Run) -> dict[str, float]:
    """Read what a smaller model may cost: from the config, or from the params.yaml of the run's project."""
    budget = {str(key): value for key, value in cfg.compress.items()}
    for key, value in budget.items():
        if value is None:
            value = budget[key] = check_params(load_params(run.project)).compress[key]
        if not (isinstance(value, int | float) and value >= 0):
            raise ValueError(f"compress.{key} must be a number, at least 0; got {value}")
    return budget


def read_bundle(folder: Path, run: Run) -> Manifest:
    """Read what the bundle of a run is, and refuse another's."""
    manifest = Manifest.load(folder)
    manifest.check_files(folder)
    found, name = manifest.run["id"], run.record.get("name")
    if found != name or manifest.data != run.schema.sha256 or manifest.compression is not None:
        raise ValueError(
            f"{folder} must be the bundle of the run {name}, uncompressed; got another, of {found}: make it "
            f'with "{write_command("export", run=display_path(run.path), output=folder)}"'
        )
    return manifest


def predict(path: Path, rows: Inputs) -> NDArray[Any]:
    """Give the answers for raw rows with all cores, shape (B, P)."""
    return run_batches(open_session(path), rows)


def describe(
    variants: Sequence[Variant],
    scores: dict[str, dict[str, Any]],
    speeds: dict[str, Speeds],
    *,
    rarest: int | None,
) -> list[dict[str, Any]]:
    """Lay out what the report has on each variant, compared with the first, which is the model itself.

    Of classes, `rarest` is the index of the one with fewest rows.
    """
    found = []
    for item in variants:
        val, test = scores[item.name]["val"], scores[item.name]["test"]
        about: dict[str, Any] = {"name": item.name, "how": item.how, "n_bytes": item.path.stat().st_size}
        if rarest is None:
            about |= {"val_rmse": val.rmse, "rmse": test.rmse, "mae": test.mae}
        else:
            about |= {"val_accuracy": val.accuracy, "val_nll": val.nll}
            about |= {"accuracy": test.accuracy, "macro_f1": test.macro_f1}
            about |= {"rarest_recall": float(test.recall[rarest]), "nll": test.nll}
        found.append({**about, "speeds": speeds[item.name]})
    whole, (whole_speed, *_) = found[0], speeds[variants[0].name]
    for about in found:
        if rarest is None:
            about["rmse_increase"] = round(about["rmse"] / whole["rmse"] - 1, 6) if whole["rmse"] else 0.0
        else:
            about["accuracy_drop"] = round(whole["accuracy"] - about["accuracy"], 6)
        about["times_smaller"] = round(whole["n_bytes"] / about["n_bytes"], 2)
        about["times_faster"] = round(whole_speed["batch_ms"] / about["speeds"][0]["batch_ms"], 2)
    return found


def time_graphs(paths: dict[str, Path], rows: Inputs) -> dict[str, Speeds]:
    """Measure how fast graphs predict, in one thread and with one on each core: medians of the calls."""
    rows = rows.take(np.arange(BATCH_SIZE) % len(rows.numeric))
    speeds: dict[str, Speeds] = {name: [] for name in paths}
    for n_threads in sorted({1, usable_cores()}):
        sessions = {name: open_session(path, n_threads=n_threads) for name, path in paths.items()}
        seconds: dict[tuple[str, int], list[float]] = {key: [] for key in product(paths, N_CALLS)}
        # The graphs take turns, since the load of a machine drifts; the first call of a turn warms up.
        for (name, size), found in [*seconds.items()] * N_TURNS:
            (given,) = batches(sessions[name], rows.take(slice(size)))
            call = partial(sessions[name].run, [OUTPUT], given)
            found.extend(timeit.repeat(call, number=1, repeat=1 + N_CALLS[size])[1:])
        for name in paths:
            one, batch = (statistics.median(seconds[name, size]) for size in N_CALLS)
            about = {"n_threads": n_threads, "one_row_us": round(1e6 * one, 1)}
            about |= {"batch_ms": round(1e3 * batch, 3), "rows_per_second": round(BATCH_SIZE / batch)}
            speeds[name].append(about)
    return speeds


def choose(variants: Sequence[dict[str, Any]], **budget: float) -> dict[str, Any]:
    """Choose the smallest variant that loses little on validation rows; of two equal ones the better.

    The size, unlike the speed, is the same on each machine. The first variant is the model itself.
    """
    whole, *others = variants
    # The score, whether it is to be high, and whether the budget is a share of it.
    limits = [
        ("val_accuracy", -1, whole.get("val_accuracy", 0) - budget.get("max_accuracy_drop", 0)),
        ("val_nll", 1, whole.get("val_nll", 0) + budget.get("max_nll_increase", 0)),
        ("val_rmse", 1, whole.get("val_rmse", 0) * (1 + budget.get("max_rmse_increase", 0))),
    ]
    own = [limit for limit in limits if limit[0] in whole]
    fitting = [item for item in others if all(sign * item[key] <= sign * most for key, sign, most in own)]
    key, sign, _ = own[0]
    return min([whole, *fitting], key=lambda item: (item["n_bytes"], sign * item[key]))


def draw_variants(
    variants: Sequence[dict[str, Any]], *, chosen: dict[str, Any], budget: dict[str, float]
) -> Figure:
    """Draw the test score of each variant over its size and its speed; the chosen one is filled."""
    score, what = ("rmse", "test RMSE") if "rmse" in chosen else ("accuracy", "test accuracy")
    whole = variants[0][score]
    limit = (
        whole * (1 + budget["max_rmse_increase"]) if score == "rmse" else whole - budget["max_accuracy_drop"]
    )
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    sizes = [variant["n_bytes"] / 1e3 for variant in variants]
    speeds = [variant["speeds"][0]["rows_per_second"] / 1e3 for variant in variants]
    labels = ("size of the graph, kB", "thousand rows per second, one thread")
    for axes, label, places in zip(figure.subplots(1, 2, sharey=True), labels, (sizes, speeds), strict=True):
        for variant, x in zip(variants, places, strict=True):
            fill = "full" if variant is chosen else "none"
            axes.plot(x, variant[score], "o", markersize=9, fillstyle=fill, label=variant["name"])
        axes.axhline(limit, color="0.4", linestyle="--", label="budget")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.12, y=0.12)
        axes.set(xlabel=label, ylabel=what)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"Smaller and faster models; served: {chosen['name']}")
    return figure

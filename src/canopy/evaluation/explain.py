"""Explain a run on validation rows: what its model looks at, where it is worse, its confident mistakes."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from matplotlib.figure import Figure
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy.data.dataset import Batch
from canopy.evaluation.explanation_plots import draw_dependence, draw_importance
from canopy.evaluation.features import Feature, Predict, table_features, take
from canopy.evaluation.importance import measure_dependence, measure_importance
from canopy.evaluation.inference import predict_rows
from canopy.evaluation.page import render_page
from canopy.evaluation.slices import condition_slices, feature_slices, score_slices
from canopy.explore.wording import rounded
from canopy.files import write_json, write_text
from canopy.prepare.interim import SPLIT_COLUMN, interim_path, read_codes, table_schema, zip_rows
from canopy.prepare.labels import labelled_rows
from canopy.prepare.reductions import Floats
from canopy.runs.run import Run
from canopy.tasks.task import Task, TaskCalibration
from canopy.training.callbacks.figures import save_figure
from canopy.training.model import TabularModel

log = logging.getLogger(__name__)

PAGE = "index.html"

# Rows that are predicted at once, so that memory does not grow with them.
CHUNK_ROWS = 65_536


def explain(
    run: Run,
    model: TabularModel,
    rows: Batch,
    cfg: DictConfig,
    *,
    report: dict[str, Any],
    calibrations: Mapping[str, TaskCalibration],
    figures: Mapping[str, Figure],
) -> None:
    """Explain a model on validation rows as the section `explanation` says, and write files and page.

    Values are computed back from the tensors by the run's own preprocessor, which needs no other file of its
    data; keys are read from the raw table where it and the table of the split are there.
    """
    options, folder, plots = cfg.explanation, Path(cfg.details), Path(cfg.plots)
    for name in ("n_rows", "n_repeats", "n_features", "n_curve_rows", "min_slice_rows", "n_mistakes"):
        if options[name] < 1:
            raise ValueError(f"explanation.{name} must be at least 1; got {options[name]}")
    features = table_features(run.preprocessor, table_schema(run.located_config.pipeline))

    def predict(*inputs: Any) -> NDArray[Any]:
        return predict_rows(model, *inputs, batch_size=run.config.data.eval_batch_size)

    found = explain_rows(predict, rows, features, model.task, options)
    places = [item["row"] for item in found["mistakes"]]
    for item, keys in zip(found["mistakes"], read_keys(run, rows, places), strict=False):
        item["keys"] = keys
    curves = found["dependence"].pop("curves")
    # A row is looked up by its values.
    found = rounded(found, whole=("values", "mistakes"))
    # Places are drawn as they are.
    found["dependence"]["curves"] = curves
    # The curves of single rows are large, and JSON has no NaN for a missing value.
    kept = {key: value for key, value in found["dependence"].items() if key != "curves"}
    write_json(folder / "explanation.json", {**found, "dependence": kept})
    save_figure(draw_importance(found["importance"], model.task), plots / "importance_val.png")
    save_figure(draw_dependence(found), plots / "partial_dependence_val.png")
    table = run.config.pipeline.table
    page = render_page(
        report,
        found,
        title=str(table.get("title") or table.target.column),
        run_name=str(run.path),
        task=model.task,
        scores=model.scores,
        calibrations=calibrations,
        figures=figures or _draw_numbers(model.task, predict, rows, calibrations),
    )
    write_text(folder / PAGE, page)
    log.info("Wrote %s", folder / PAGE)


def _draw_numbers(
    task: Task, predict: Predict, rows: Batch, calibrations: Mapping[str, TaskCalibration]
) -> dict[str, Figure]:
    """Draw the plots of predicted numbers; those of classes are made by the page itself."""
    if task.kind != "regression":
        return {}
    _, predicted = _predict_all(predict, rows, task)
    [figure] = task.draw(predicted[:, None], rows.labels.numpy(), title="").values()
    found = {"Validation rows": figure}
    for split, calibration in calibrations.items():
        found[f"Prediction intervals, {split}"] = task.draw_calibration(calibration, title=split)
    return found


def explain_rows(
    predict: Predict,
    rows: Batch,
    features: list[Feature],
    task: Task,
    options: DictConfig,
) -> dict[str, Any]:
    """Compute all that `explanation.json` holds, and rows' own curves."""
    seed = options.seed
    # First, since a condition may be wrong.
    conditions = condition_slices(options.slices, features, rows)
    importance = measure_importance(
        predict, rows, features, task, n_rows=options.n_rows, n_repeats=options.n_repeats, seed=seed
    )
    ranking = [*importance["features"]]
    ranked = sorted(features, key=lambda feature: ranking.index(feature.name))
    shown = ranked[: options.n_features]
    dependence = measure_dependence(predict, rows, shown, task, n_rows=options.n_curve_rows, seed=seed)
    losses, predicted = _predict_all(predict, rows, task)
    slices = (feature_slices(feature, feature.values(rows)) for feature in ranked)
    scored = score_slices((*conditions, *slices), losses, task, min_rows=options.min_slice_rows)
    described = {feature.name: {"kind": feature.kind, "meaning": feature.meaning} for feature in ranked}
    for feature in features:
        described[feature.name]["unit"] = feature.unit
    return {
        "split": "val",
        "task": task.kind,
        "classes": [*task.output_names],
        "features": described,
        "importance": importance,
        "dependence": dependence,
        "slices": scored,
        "mistakes": _mistakes(rows, ranked, task, losses, predicted, n=options.n_mistakes),
    }


def _predict_all(predict: Predict, rows: Batch, task: Task) -> tuple[Floats, NDArray[Any]]:
    """Give the losses of each row, shape (2, n_rows), and its likeliest class or number, (n_rows,)."""
    parts = []
    for start in range(0, len(rows.labels), CHUNK_ROWS):
        chunk = Batch(*(part[start : start + CHUNK_ROWS] for part in rows))
        predictions, labels = predict(*chunk[:2]), chunk.labels.numpy()
        predicted = task.prediction_columns(predictions, labels)["predicted"]
        parts.append((task.row_losses(predictions, labels), predicted))
    losses, predicted = zip(*parts, strict=True)
    return np.concatenate(losses, axis=1), np.concatenate(predicted)


def _mistakes(
    rows: Batch,
    features: list[Feature],
    task: Task,
    losses: Floats,
    predicted: NDArray[Any],
    *,
    n: int,
) -> list[dict[str, Any]]:
    """Describe the wrong rows of the largest loss; `row` is their number in the tensors and predictions."""
    wrong = np.flatnonzero(losses[1])
    places = wrong[np.argsort(-losses[0, wrong], kind="stable")[:n]]
    chosen = take(rows, places)
    values = {feature.name: map(feature.text, feature.values(chosen)) for feature in features}
    columns = [*zip(*values.values(), strict=True)]
    return [
        {
            "row": int(place),
            "keys": {},
            **task.describe_mistake(label, predicted[place], float(losses[0, place])),
            "values": dict(zip(values, row, strict=True)),
        }
        for place, label, row in zip(places, task.true_values(chosen.labels.numpy()), columns, strict=True)
    ]


def read_keys(run: Run, rows: Batch, places: list[int]) -> list[dict[str, str | None]]:
    """Read keys of validation rows from the raw table; none where it has none, or is not that of the run."""
    pipeline = run.located_config.pipeline
    schema, split = table_schema(pipeline), interim_path(pipeline, "split")
    if not schema.keys or not places:
        return []
    start, found = 0, dict[int, dict[str, str | None]]()
    try:
        classes = run.preprocessor.classes
        labelled = labelled_rows(pipeline.paths.raw, schema, classes=classes)
        [codes] = read_codes(split, SPLIT_COLUMN)
        for batch in zip_rows(labelled, SPLIT_COLUMN, *codes):
            part = batch.filter(pc.equal(batch[SPLIT_COLUMN], "val"))
            labels = run.preprocessor.labels(part[schema.target.column])
            own = Batch(*(item[start : start + part.num_rows] for item in rows))
            numeric = run.preprocessor.transform(part).numeric
            if not (np.array_equal(labels, own.labels) and np.array_equal(numeric, own.numeric)):
                raise ValueError(f"{pipeline.paths.raw} must be the table of the run; got other rows")
            near = [place for place in places if start <= place < start + part.num_rows]
            keys = part.select(schema.keys).take([place - start for place in near]).to_pylist()
            found |= {
                place: {name: None if value is None else str(value) for name, value in key.items()}
                for place, key in zip(near, keys, strict=True)
            }
            start += part.num_rows
    except (OSError, ValueError) as error:
        log.warning("The mistakes are listed without keys: %s", error)
        return []
    return [found[place] for place in places]

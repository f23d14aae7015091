"""Explain a run on validation rows: what its model looks at, where it is worse, its confident mistakes."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy.data.dataset import Batch
from canopy.evaluation.explanation_plots import draw_dependence, draw_importance
from canopy.evaluation.features import Feature, Predict, row_losses, table_features, take
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
from canopy.tasks.calibration import Calibration
from canopy.training.callbacks.confusion_matrix import save_figure
from canopy.training.classifier import Classifier

log = logging.getLogger(__name__)

# Rows that are predicted at once, so that memory does not grow with them.
CHUNK_ROWS = 65_536


def explain(
    run: Run,
    model: Classifier,
    rows: Batch,
    cfg: DictConfig,
    *,
    report: dict[str, Any],
    calibrations: Mapping[str, Calibration],
) -> None:
    """Explain a model on validation rows as the section `explanation` says, and write files and page.

    Values are computed back from the tensors by the run's own preprocessor, which needs no other file of its
    data; keys are read from the raw table where it and the table of the split are there.
    """
    options, folder = cfg.explanation, Path(cfg.output)
    for name in ("n_rows", "n_repeats", "n_features", "n_curve_rows", "min_slice_rows", "n_mistakes"):
        if options[name] < 1:
            raise ValueError(f"explanation.{name} must be at least 1; got {options[name]}")
    features = table_features(run.preprocessor, table_schema(run.located_config.pipeline))

    def predict(*inputs: Any) -> NDArray[np.float32]:
        return predict_rows(model, *inputs, batch_size=run.config.data.eval_batch_size)

    found = explain_rows(predict, rows, features, model.schema.class_names, options)
    places = [item["row"] for item in found["mistakes"]]
    for item, keys in zip(found["mistakes"], read_keys(run, rows, places), strict=False):
        item["keys"] = keys
    curves = found["dependence"].pop("curves")
    found = rounded(found)
    # Places are drawn as they are.
    found["dependence"]["curves"] = curves
    # The curves of single rows are large, and JSON has no NaN for a missing value.
    kept = {key: value for key, value in found["dependence"].items() if key != "curves"}
    write_json(folder / "explanation.json", {**found, "dependence": kept})
    save_figure(draw_importance(found["importance"]), folder / "importance_val.png")
    save_figure(draw_dependence(found), folder / "partial_dependence_val.png")
    table = run.config.pipeline.table
    page = render_page(
        report,
        found,
        title=str(table.get("title") or table.target.column),
        run_name=str(run.path),
        scores=model.scores,
        calibrations=calibrations,
    )
    write_text(Path(cfg.page), page)
    log.info("Wrote %s", cfg.page)


def explain_rows(
    predict: Predict,
    rows: Batch,
    features: list[Feature],
    class_names: tuple[str, ...],
    options: DictConfig,
) -> dict[str, Any]:
    """Compute all that `explanation.json` holds, and rows' own curves."""
    seed = options.seed
    importance = measure_importance(
        predict, rows, features, n_rows=options.n_rows, n_repeats=options.n_repeats, seed=seed
    )
    ranking = [*importance["features"]]
    ranked = sorted(features, key=lambda feature: ranking.index(feature.name))
    shown = ranked[: options.n_features]
    dependence = measure_dependence(predict, rows, shown, class_names, n_rows=options.n_curve_rows, seed=seed)
    losses, right, predicted = _predict_all(predict, rows)
    slices = (feature_slices(feature, feature.values(rows)) for feature in ranked)
    conditions = condition_slices(options.slices, features, rows)
    scored = score_slices((*conditions, *slices), losses, right, min_rows=options.min_slice_rows)
    described = {feature.name: {"kind": feature.kind, "meaning": feature.meaning} for feature in ranked}
    for feature in features:
        described[feature.name]["unit"] = feature.unit
    return {
        "split": "val",
        "classes": [*class_names],
        "features": described,
        "importance": importance,
        "dependence": dependence,
        "slices": scored,
        "mistakes": _mistakes(rows, ranked, class_names, losses, right, predicted, n=options.n_mistakes),
    }


def _predict_all(predict: Predict, rows: Batch) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
    """Give the log loss of each row, whether it is predicted right, and its likeliest class."""
    parts = []
    for start in range(0, len(rows.labels), CHUNK_ROWS):
        chunk = Batch(*(part[start : start + CHUNK_ROWS] for part in rows))
        probabilities = predict(*chunk[:2])
        parts.append((*row_losses(probabilities, chunk.labels), probabilities.argmax(axis=1)))
    losses, right, predicted = map(np.concatenate, zip(*parts, strict=True))
    return losses, right, predicted


def _mistakes(
    rows: Batch,
    features: list[Feature],
    class_names: tuple[str, ...],
    losses: Floats,
    right: NDArray[np.bool_],
    predicted: NDArray[np.int64],
    *,
    n: int,
) -> list[dict[str, Any]]:
    """Describe the wrong rows of the largest loss; `row` is their number in the tensors and predictions."""
    wrong = np.flatnonzero(~right)
    places = wrong[np.argsort(-losses[wrong], kind="stable")[:n]]
    chosen = take(rows, places)
    values = {feature.name: map(feature.text, feature.values(chosen)) for feature in features}
    columns = [*zip(*values.values(), strict=True)]
    return [
        {
            "row": int(place),
            "keys": {},
            "true": class_names[label],
            "predicted": class_names[predicted[place]],
            "probability_of_true": float(np.exp(-losses[place])),
            "log_loss": float(losses[place]),
            "values": dict(zip(values, row, strict=True)),
        }
        for place, label, row in zip(places, chosen.labels.tolist(), columns, strict=True)
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
            labels = pc.index_in(part[schema.target.column], pa.array(classes))
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

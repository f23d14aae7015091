"""Predict the rows of a table of any size, with a run or a bundle."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy.export.registry import local_bundle
from canopy.files import read_json
from canopy.prepare.interim import closed_schema, table_schema
from canopy.prepare.preprocessor import Preprocessor
from canopy.runs.run import METRICS, Run
from canopy.schema import TableSchema
from canopy.tables.parse import Problems
from canopy.tables.rows import TableReader
from canopy.tables.writer import STANDARD_OUTPUT, open_writer
from canopy.tasks.answers import Answers, ClassAnswers, NumberAnswers
from canopy.tasks.decision import stored_threshold, uncalibrated

log = logging.getLogger(__name__)

# From checked rows to predictions, shape (B, K).
Predict = Callable[[pa.RecordBatch], NDArray[Any]]


def predict(cfg: DictConfig) -> int:
    """Predict each row of a table with a run or a bundle; `cfg` is of `configs/predict.yaml`."""
    if (cfg.run is None) == (cfg.bundle is None):
        raise ValueError(f"One of run and bundle must be given; got run={cfg.run} and bundle={cfg.bundle}")
    if cfg.on_error not in ("reject_row", "reject_file"):
        raise ValueError(f"on_error must be reject_row or reject_file; got {cfg.on_error!r}")
    target = Path(str(cfg.output))
    further = [cfg["keys"]] if isinstance(cfg["keys"], str) else [*(cfg["keys"] or ())]
    table, answers, preprocessor, load = open_model(cfg)
    set_threshold(answers, cfg.threshold)
    schema = preprocessor.restrict(table)
    reader = TableReader(str(cfg.input), schema, with_target=False, keys=further, n_shown=None)
    if target.exists() and any(target.samefile(file.path) for file in reader.files):
        raise ValueError(f"The output must be another file than the input; found {target} as both")
    predictions_of = load()
    started, n_rows, unseen = time.perf_counter(), 0, Counter[str]()
    label = table.target.column
    keys = [name for name in dict.fromkeys([*reader.schema.keys, *further]) if name != label]
    scores = answers.scores(table)
    with open_writer(target, answers.schema(keys)) as write:
        for batch in reader.valid_batches():
            predictions = predictions_of(batch)
            write(answers.table(batch, predictions, keys=keys))
            unseen.update(preprocessor.count_unseen(batch))
            if reader.has_target:
                scores.update(batch[label], predictions)
            n_rows += batch.num_rows
        if cfg.on_error == "reject_file":
            reader.problems.raise_error()
    for name, count in unseen.items():
        of = f"{count:,} of {n_rows:,} rows"
        log.warning("%r: %s have a category that was unseen, rare or dropped in training", name, of)
    write_rejected(reader.problems, target)
    if scores.n_labels:
        log.log(logging.INFO if scores.n_rows else logging.WARNING, "%s", scores)
    level, seconds = logging.INFO if n_rows else logging.WARNING, time.perf_counter() - started
    log.log(level, "Predicted %s rows in %.1f s: %s", f"{n_rows:,}", seconds, target)
    return n_rows


def set_threshold(answers: Answers, threshold: float | None) -> None:
    """Set the threshold that a command gives, and log the one that holds."""
    if threshold is not None:
        if not isinstance(answers, ClassAnswers) or len(answers.groups) != 2:
            raise ValueError(f"threshold must be null where there are not two classes; got {threshold}")
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be a probability, from 0 to 1; got {threshold}")
        answers.threshold = threshold
    if isinstance(answers, ClassAnswers) and answers.threshold is not None:
        log.info("Predicting %s from a probability of %.4g on", answers.groups[1], answers.threshold)


def write_rejected(problems: Problems, output: Path) -> None:
    """Write what is wrong with the rows that were not predicted; without any, remove an earlier file."""
    found, path = problems.shown, output.with_name(f"{output.name}.rejected.csv")
    if output == STANDARD_OUTPUT:
        for item in found:
            log.warning("Not predicted: line %d of %s: %r must %s; got %s", item.line, item.file, *item[2:])
    elif not found:
        path.unlink(missing_ok=True)
    else:
        batch = pa.RecordBatch.from_pylist([item._asdict() for item in found])
        with open_writer(path, batch.schema) as write:
            write(batch)
        log.warning("%d values are not allowed; their rows are not predicted: %s", len(found), path)


def open_model(cfg: DictConfig) -> tuple[TableSchema, Answers, Preprocessor, Callable[[], Predict]]:
    """Give the raw table of a run or bundle, its answers and preprocessor, and what loads the model."""
    if cfg.run is None:
        from canopy.export.scorer import Scorer

        scorer = Scorer(local_bundle(str(cfg.bundle)))
        manifest = scorer.manifest
        own = manifest.preprocessor
        return manifest.table, scorer.answers, own, lambda: lambda rows: scorer.predict(own.inputs(rows))
    run = Run(cfg.run)
    preprocessor, schema = run.preprocessor, run.schema

    def load() -> Predict:
        # Here, so that a mistake is reported without waiting for torch.
        from canopy.evaluation.inference import Predictor

        predictor = Predictor(run, batch_size=cfg.batch_size, accelerator=cfg.accelerator)
        return lambda rows: predictor.predict(preprocessor.transform(rows))

    answers: Answers = NumberAnswers(has_interval=False)
    if schema.class_names:
        classes = dict(zip(map(str, schema.class_values), schema.class_names, strict=True))
        answers = ClassAnswers(classes, threshold=run_threshold(run, cfg.metrics))
    return closed_schema(table_schema(run.config.pipeline), preprocessor), answers, preprocessor, load


def run_threshold(run: Run, metrics: str | None) -> float | None:
    """Give the threshold of a run by its scores, of the probabilities without the temperature."""
    path = Path(metrics or run.path / METRICS)
    scores = (read_json(path) if metrics or path.is_file() else {}).get("val", {})
    if (found := stored_threshold(scores)) is None:
        return None
    return uncalibrated(found["threshold"], temperature=scores["calibrated"]["temperature"])

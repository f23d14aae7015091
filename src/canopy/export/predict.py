"""Predict the rows of a table of any size, with a run or a bundle."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy.evaluation.predictions import PredictionColumns
from canopy.prepare.interim import closed_schema, table_schema
from canopy.prepare.labels import known_labels
from canopy.prepare.preprocessor import Preprocessor, Vocabulary
from canopy.runs.run import Run
from canopy.schema import TableSchema
from canopy.tables.parse import Problems
from canopy.tables.rows import TableReader
from canopy.tables.writer import STANDARD_OUTPUT, open_writer

log = logging.getLogger(__name__)

# From checked rows to probabilities, shape (B, K).
Predict = Callable[[pa.RecordBatch], NDArray[np.float32]]


def predict(cfg: DictConfig) -> int:
    """Predict each row of a table with a run or a bundle; `cfg` is of `configs/predict.yaml`."""
    if (cfg.run is None) == (cfg.bundle is None):
        raise ValueError(f"One of run and bundle must be given; got run={cfg.run} and bundle={cfg.bundle}")
    if cfg.on_error not in ("reject_row", "reject_file"):
        raise ValueError(f"on_error must be reject_row or reject_file; got {cfg.on_error!r}")
    target = Path(str(cfg.output))
    further = [cfg["keys"]] if isinstance(cfg["keys"], str) else [*(cfg["keys"] or ())]
    table, classes, preprocessor, load = open_model(cfg)
    schema = preprocessor.restrict(table)
    reader = TableReader(str(cfg.input), schema, with_target=False, keys=further, n_shown=None)
    if target.exists() and any(target.samefile(file.path) for file in reader.files):
        raise ValueError(f"The output must be another file than the input; found {target} as both")
    probabilities_of = load()
    started, n_rows, unseen = time.perf_counter(), 0, Counter[str]()
    label = table.target.column
    keys = [name for name in dict.fromkeys([*reader.schema.keys, *further]) if name != label]
    columns, scores = PredictionColumns(keys, classes), LabelScores(table, [*classes])
    with open_writer(target, columns.schema) as write:
        for batch in reader.valid_batches():
            probabilities = probabilities_of(batch)
            write(columns(batch, probabilities))
            unseen.update(preprocessor.count_unseen(batch))
            if reader.has_target:
                scores.update(batch[label], probabilities)
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


class LabelScores:
    """Scores predictions where a table has labels, batch by batch; `classes` are values in the table."""

    def __init__(self, schema: TableSchema, classes: Sequence[str]) -> None:
        self._schema, self._classes = schema, Vocabulary(values=tuple(classes))
        self.n_labels = self.n_rows = self._n_right = 0
        self._log_loss = 0.0

    def update(self, labels: pa.Array, probabilities: NDArray[np.float32]) -> None:
        """Add rows: value of the target, null where there is none, and probabilities, shape (B, K)."""
        self.n_labels += len(labels) - labels.null_count
        if self._schema.target.rare == "merge":
            labels = known_labels(labels, self._schema, self._classes.values)
        codes, _ = self._classes.encode(labels)
        known = codes < len(self._classes.values)
        codes, probabilities = codes[known], probabilities[known].astype(float)
        self.n_rows += len(codes)
        self._n_right += int(np.count_nonzero(probabilities.argmax(axis=1) == codes))
        likelihood = probabilities[np.arange(len(codes)), codes]
        self._log_loss -= float(np.log(np.maximum(likelihood, np.finfo(np.float32).tiny)).sum())

    def __str__(self) -> str:
        if not self.n_rows:
            target, classes = self._schema.target.column, ", ".join(self._classes.values[:10])
            return f"Not scored: no label in the column {target!r} is one of the classes {classes}"
        accuracy, log_loss = self._n_right / self.n_rows, self._log_loss / self.n_rows
        return f"On {self.n_rows:,} rows with a label: accuracy {accuracy:.4f}, log loss {log_loss:.4f}"


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


def open_model(cfg: DictConfig) -> tuple[TableSchema, dict[str, str], Preprocessor, Callable[[], Predict]]:
    """Give the raw table of a run or bundle, its classes and preprocessor, and what loads the model."""
    if cfg.run is None:
        from canopy.export.scorer import Scorer

        scorer = Scorer(cfg.bundle)
        manifest = scorer.manifest
        own = manifest.preprocessor
        return manifest.table, manifest.classes, own, lambda: lambda rows: scorer.predict(own.inputs(rows))
    run = Run(cfg.run)
    preprocessor, schema = run.preprocessor, run.schema

    def load() -> Predict:
        # Here, so that a mistake is reported without waiting for torch.
        from canopy.evaluation.inference import Predictor

        predictor = Predictor(run, batch_size=cfg.batch_size, accelerator=cfg.accelerator)
        return lambda rows: predictor.predict(preprocessor.transform(rows))

    classes = dict(zip(map(str, schema.class_values), schema.class_names, strict=True))
    return closed_schema(table_schema(run.config.pipeline), preprocessor), classes, preprocessor, load

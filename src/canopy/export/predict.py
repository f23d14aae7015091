"""Predict the rows of a table of any size, with a run or a bundle."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy.evaluation.predictions import LabelScores, PredictionColumns, check_target, rejected_path
from canopy.prepare.interim import closed_schema, table_schema
from canopy.prepare.preprocessor import Preprocessor
from canopy.runs.run import Run
from canopy.schema import TableSchema
from canopy.tables.problems import Problems
from canopy.tables.rows import TableReader
from canopy.tables.writer import open_writer

log = logging.getLogger(__name__)

Predict = Callable[[pa.RecordBatch], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Model:
    """What predicts rows of a raw table.

    Attributes:
        schema: The raw table.
        classes: Value in the file and name of each class.
        preprocessor: What was learnt from its training rows.
        load: Loads the model and gives what predicts checked rows: probabilities of shape (B, K).
    """

    schema: TableSchema
    classes: dict[str, str]
    preprocessor: Preprocessor
    load: Callable[[], Predict]


def predict(cfg: DictConfig) -> int:
    """Predict each row of a table with a run's best checkpoint, or with a bundle.

    Rows with a value that the schema does not allow are written to `<output>.rejected.csv`, with line,
    column, requirement and value, and the others predicted; with `on_error=reject_file` nothing is
    predicted then.

    Args:
        cfg: The composed config of `configs/predict.yaml`.

    Returns:
        Number of rows predicted.

    Raises:
        FileNotFoundError: If the table, the run or the bundle, or a file in it, is not there.
        ValueError: If the table cannot be read, or the output cannot be written in its format.
    """
    if (cfg.run is None) == (cfg.bundle is None):
        raise ValueError(f"One of run and bundle must be given; got run={cfg.run} and bundle={cfg.bundle}")
    if cfg.on_error not in ("reject_row", "reject_file"):
        raise ValueError(f"on_error must be reject_row or reject_file; got {cfg.on_error!r}")
    source, target = Path(str(cfg.input)), Path(str(cfg.output))
    model = open_run(cfg) if cfg.bundle is None else open_bundle(cfg.bundle)
    schema = model.preprocessor.restrict(model.schema)
    reader = TableReader(source, schema, with_target=False, keys=cfg["keys"], n_shown=None)
    target_column = model.schema.target.column
    check_target(target, source=source)
    probabilities_of = model.load()
    started, n_rows = time.perf_counter(), 0
    unseen: Counter[str] = Counter()
    wanted = dict.fromkeys([*reader.schema.keys, *cfg["keys"]])
    keys = [name for name in wanted if name != target_column]
    columns = PredictionColumns(keys, model.classes)
    scores = LabelScores(model.schema, [*model.classes])
    with open_writer(target, columns.schema) as write:
        for batch in reader.valid_batches():
            probabilities = probabilities_of(batch)
            write(columns(batch, probabilities))
            unseen.update(model.preprocessor.count_unseen(batch))
            if reader.has_target:
                scores.update(batch[target_column], probabilities)
            n_rows += batch.num_rows
        if cfg.on_error == "reject_file":
            reader.problems.raise_error()
    for name, count in unseen.items():
        of = f"{count:,} of {n_rows:,} rows"
        log.warning("%r: %s have a category that was unseen, rare or dropped in training", name, of)
    write_rejected(reader.problems, rejected_path(target))
    if scores.n_rows:
        log.info("%s", scores)
    log.info("Predicted %s rows in %.1f s: %s", f"{n_rows:,}", time.perf_counter() - started, target)
    return n_rows


def write_rejected(problems: Problems, path: Path | None) -> None:
    """Write what is wrong with the rows that were not predicted; without any, remove an earlier file."""
    if path is None:
        for item in problems.shown:
            log.warning("Not predicted: line %d of %s: %r must %s; got %s", item.line, item.file, *item[2:])
        return
    if not problems.counts:
        path.unlink(missing_ok=True)
        return
    found = problems.shown
    fields = ("file", "line", "column", "requirement", "value")
    rows = pa.RecordBatch.from_pydict({name: [getattr(item, name) for item in found] for name in fields})
    with open_writer(path, rows.schema) as write:
        write(rows)
    log.warning("%d values are not allowed; their rows are not predicted: %s", len(found), path)


def open_run(cfg: DictConfig) -> Model:
    """Let a run's best checkpoint predict, behind the run's own preprocessor."""
    run = Run(cfg.run)
    preprocessor = run.preprocessor

    def load() -> Predict:
        # Here, so that a mistake is reported without waiting for torch.
        from canopy.evaluation.inference import Predictor

        predictor = Predictor(run, batch_size=cfg.batch_size, accelerator=cfg.accelerator)
        return lambda rows: predictor.predict(preprocessor.transform(rows))

    schema = run.schema
    classes = dict(zip(map(str, schema.class_values), schema.class_names, strict=True))
    table = closed_schema(table_schema(run.config.pipeline), preprocessor)
    return Model(schema=table, classes=classes, preprocessor=preprocessor, load=load)


def open_bundle(folder: str) -> Model:
    """Let a bundle predict."""
    from canopy.export.scorer import Scorer

    scorer = Scorer(folder)
    manifest = scorer.manifest

    def load() -> Predict:
        return lambda rows: scorer.predict(manifest.preprocessor.inputs(rows))

    return Model(
        schema=manifest.table, classes=manifest.classes, preprocessor=manifest.preprocessor, load=load
    )

"""The model of a run or a bundle, as predictions need it."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy.export.registry import local_bundle
from canopy.files import read_json
from canopy.prepare.interim import closed_schema, table_schema
from canopy.prepare.preprocessor import Preprocessor
from canopy.runs.run import METRICS, Run
from canopy.schema import TableSchema
from canopy.tasks.answers import Answers, ClassAnswers, NumberAnswers
from canopy.tasks.decision import stored_threshold, uncalibrated

# From checked rows to predictions, shape (B, K).
Predict = Callable[[pa.RecordBatch], NDArray[Any]]


class Model(NamedTuple):
    """A run or bundle: its raw table, its answers and preprocessor, and what loads it."""

    table: TableSchema
    answers: Answers
    preprocessor: Preprocessor
    load: Callable[[], Predict]

    @property
    def threshold(self) -> float | None:
        """From which probability on the second of two classes is predicted; None for the likelier class."""
        return self.answers.threshold if isinstance(self.answers, ClassAnswers) else None


def open_model(cfg: DictConfig) -> Model:
    """Open a run or bundle without loading it, and set the threshold that the command gives."""
    model = _open_bundle(cfg.bundle) if cfg.run is None else _open_run(cfg)
    set_threshold(model.answers, cfg.threshold)
    return model._replace(load=functools.cache(model.load))


def _open_bundle(path: str) -> Model:
    # Here, since runs do without onnxruntime.
    from canopy.export.scorer import Scorer

    scorer = Scorer(local_bundle(path))
    own = scorer.manifest.preprocessor
    return Model(
        scorer.manifest.table, scorer.answers, own, lambda: lambda rows: scorer.predict(own.inputs(rows))
    )


def _open_run(cfg: DictConfig) -> Model:
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
    table = closed_schema(table_schema(run.config.pipeline), preprocessor)
    return Model(table, answers, preprocessor, load)


def run_threshold(run: Run, metrics: str | None) -> float | None:
    """Give the threshold of a run by its scores, of the probabilities without the temperature."""
    path = Path(metrics or run.path / METRICS)
    scores = (read_json(path) if metrics or path.is_file() else {}).get("val", {})
    if (found := stored_threshold(scores)) is None:
        return None
    return uncalibrated(found["threshold"], temperature=scores["calibrated"]["temperature"])


def set_threshold(answers: Answers, threshold: float | None) -> None:
    """Set the threshold that a command gives."""
    if threshold is not None:
        if not isinstance(answers, ClassAnswers) or len(answers.groups) != 2:
            raise ValueError(f"threshold must be null where there are not two classes; got {threshold}")
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be a probability, from 0 to 1; got {threshold}")
        answers.threshold = threshold

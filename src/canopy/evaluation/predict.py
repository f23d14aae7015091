"""Predict the classes of new rows, given as a table in the form of the raw one."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy.data.encoding import Encoded, describe, encode
from canopy.data.schema import NORMALIZATION_FILE, SCHEMA_FILE, Schema
from canopy.evaluation.predictions import check_target, open_predictions, tabulate
from canopy.prepare.normalization import Scaling, load_normalization
from canopy.table.blocks import BLOCK_BYTES, check_source, read_ahead, read_blocks
from canopy.table.checks import FIRST_LINE
from canopy.table.kept import kept_table
from canopy.table.spec import TableSpec
from canopy.training.run_folder import CONFIG, RunFolder

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Model:
    """What predicts rows of a raw table.

    Attributes:
        table: The raw table.
        load: Loads the model and gives what predicts a block of rows: called with the block and the line of
            its first row in the file, it returns probabilities of shape (B, K).
    """

    table: TableSpec
    load: Callable[[], Callable[[pa.Table, int], NDArray[np.float32]]]


def predict(cfg: DictConfig, *, block_bytes: int = BLOCK_BYTES) -> int:
    """Predict each row of a table of any length with a run's best checkpoint, or with a bundle.

    Args:
        cfg: The composed config of `configs/predict.yaml`.
        block_bytes: Size of the part of the table that is in memory at a time.

    Returns:
        Number of rows predicted.

    Raises:
        FileNotFoundError: If the table, the run or the bundle, or a file in it, is not there.
        ValueError: If the table or a value in it is wrong, the output cannot be written in its format, or
            the files of the run or of the bundle do not belong together.
    """
    if (cfg.run is None) == (cfg.bundle is None):
        raise ValueError(
            f"One of run and bundle must say what predicts; found run={cfg.run} and bundle={cfg.bundle}"
        )
    source, target = Path(str(cfg.input)), Path(str(cfg.output))
    model = open_run(cfg, source) if cfg.bundle is None else open_bundle(cfg.bundle)
    check_source(source, model.table)
    check_target(target, source=source)
    probabilities_of = model.load()
    started, n_rows = time.perf_counter(), 0
    with open_predictions(target, model.table.classes) as write:
        blocks = read_blocks(source, model.table, description="predict", block_bytes=block_bytes)
        for block in read_ahead(blocks):
            write(tabulate(probabilities_of(block, n_rows + FIRST_LINE), model.table.classes))
            n_rows += block.num_rows
    seconds = time.perf_counter() - started
    log.info("Predicted %s rows in %.1f s: %s", f"{n_rows:,}", seconds, target)
    return n_rows


def open_run(cfg: DictConfig, source: Path) -> Model:
    """Let a run's best checkpoint predict; its own config and scalings prepare the rows.

    Args:
        cfg: The composed config of `configs/predict.yaml`.
        source: The file with the rows, for messages.
    """
    run = RunFolder(cfg.run)
    pipeline = run.config.pipeline
    kept = kept_table(pipeline)
    scalings = load_normalization(run.path / NORMALIZATION_FILE)
    check_run(run, kept, run.schema, scalings)

    def load() -> Callable[[pa.Table, int], NDArray[np.float32]]:
        # Here, so that a mistake is told without waiting for torch.
        from canopy.evaluation.inference import Predictor

        predictor = Predictor(run, batch_size=cfg.batch_size, accelerator=cfg.accelerator)

        def probabilities_of(block: pa.Table, first_line: int) -> NDArray[np.float32]:
            rows = encode(block, kept, scalings=scalings)
            probabilities = predictor.predict(rows)
            check_probabilities(probabilities, rows, source=source, first_line=first_line)
            return probabilities

        return probabilities_of

    return Model(table=TableSpec.from_config(pipeline.table), load=load)


def open_bundle(folder: str) -> Model:
    """Let a bundle predict."""
    from canopy.bundle.scorer import Scorer

    scorer = Scorer(folder)

    def probabilities_of(block: pa.Table, first_line: int) -> NDArray[np.float32]:  # noqa: ARG001
        return scorer.predict(as_matrix(block, scorer.manifest.table))

    return Model(table=scorer.manifest.table, load=lambda: probabilities_of)


def as_matrix(table: pa.Table, spec: TableSpec) -> NDArray[np.float64]:
    """Put the inputs of raw rows side by side, shape (B, F), in the order of `spec`; missing ones are NaN."""
    return np.column_stack([table[name].to_numpy().astype(np.float64) for name in spec.inputs])


def check_run(run: RunFolder, spec: TableSpec, schema: Schema, scalings: Mapping[str, Scaling]) -> None:
    """Refuse a run whose config does not describe the data it was trained on.

    Args:
        run: The run.
        spec: The table that its config describes, without the dropped columns.
        schema: What its data was.
        scalings: Scaling of each numeric column.

    Raises:
        ValueError: If the features, their categories or the classes differ.
    """
    described = describe(spec)
    for part in ("target", "class_values", "class_names", "numeric", "categorical"):
        if getattr(described, part) != getattr(schema, part):
            raise ValueError(
                f"{run.path} must have been trained on the table of its {CONFIG}; found another `{part}` in "
                f'{SCHEMA_FILE}: params.yaml changed before training; run "make repro"'
            )
    if missing := [name for name in schema.numeric if name not in scalings]:
        raise ValueError(f"{run.path / NORMALIZATION_FILE} must scale {missing[0]!r}; found no such column")


def check_probabilities(
    probabilities: NDArray[np.float32], rows: Encoded, *, source: Path, first_line: int
) -> None:
    """Refuse rows that are beyond what the net can compute.

    Args:
        probabilities: Probability of each class, shape (B, K).
        rows: What they were computed from, B of them.
        source: The file with the rows, for messages.
        first_line: Line of the first row in the file.

    Raises:
        ValueError: If a scaled feature or a probability is not finite.
    """
    wrong = ~(np.isfinite(probabilities).all(axis=1) & np.isfinite(rows.numeric).all(axis=1))
    if wrong.any():
        raise ValueError(
            f"{source}: numeric values must be small enough for single precision; found one that is not in "
            f"line {first_line + int(wrong.argmax())}"
        )

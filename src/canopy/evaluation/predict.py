"""Predict the classes of new rows, given as a table in the form of the raw one."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy.data.encoding import Encoded, describe, encode
from canopy.data.schema import NORMALIZATION_FILE, SCHEMA_FILE, Schema
from canopy.evaluation.predictions import check_target, open_predictions, tabulate
from canopy.prepare.normalization import Scaling, load_normalization
from canopy.table.blocks import BLOCK_BYTES, check_source, read_blocks
from canopy.table.checks import FIRST_LINE
from canopy.table.kept import kept_table
from canopy.table.spec import TableSpec
from canopy.training.run_folder import CONFIG, RunFolder

log = logging.getLogger(__name__)


def predict(run: RunFolder, cfg: DictConfig, *, block_bytes: int = BLOCK_BYTES) -> int:
    """Predict each row of a table of any length with a run's best checkpoint.

    Args:
        run: The run; its own config and scalings prepare the rows.
        cfg: The composed config of `configs/predict.yaml`.
        block_bytes: Size of the part of the table that is in memory at a time.

    Returns:
        Number of rows predicted.

    Raises:
        FileNotFoundError: If the table or a file of the run is not there.
        ValueError: If the table or a value in it is wrong, the output cannot be written in its format, or
            the run's files do not belong together.
    """
    source, target = Path(str(cfg.input)), Path(str(cfg.output))
    pipeline = run.config.pipeline
    raw, kept = TableSpec.from_config(pipeline.table), kept_table(pipeline)
    schema, scalings = run.schema, load_normalization(run.path / NORMALIZATION_FILE)
    check_run(run, kept, schema, scalings)
    check_source(source, raw)
    check_target(target, source=source)
    # Here, so that a mistake is told without waiting for torch.
    from canopy.evaluation.inference import Predictor

    predictor = Predictor(run, batch_size=cfg.batch_size, accelerator=cfg.accelerator)
    started, n_rows = time.perf_counter(), 0
    with open_predictions(target, schema) as write:
        for block in read_blocks(source, raw, description="predict", block_bytes=block_bytes):
            rows = encode(block, kept, scalings=scalings)
            probabilities = predictor.predict(rows)
            check_probabilities(probabilities, rows, source=source, first_line=n_rows + FIRST_LINE)
            write(tabulate(probabilities, schema))
            n_rows += len(probabilities)
    seconds = time.perf_counter() - started
    log.info("Predicted %s rows in %.1f s on %s: %s", f"{n_rows:,}", seconds, predictor.device.type, target)
    return n_rows


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

"""What the folds of a cross-validation say together: their scores, and a prediction of each row."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from canopy.compare.comparison import PREDICTIONS
from canopy.compare.spread import is_number, measure_spread, spread_cells
from canopy.files import atomic_write, write_json
from canopy.prepare import interim
from canopy.prepare.labels import labelled_rows
from canopy.runs.find import CROSS_VALIDATION, OUT_OF_FOLD
from canopy.runs.keys import flatten
from canopy.runs.run import Run
from canopy.tasks.task import task_of
from canopy.text_tables import decimals, render

FOLD, ROW = "fold", "row"
SPLIT = "test"


def write_results(folder: Path, runs: Sequence[Run]) -> dict[str, Any]:
    """Write the predictions of all tested rows and, last, the scores; give the latter."""
    rows, n_untested = gather_rows(runs)
    with atomic_write(folder / OUT_OF_FOLD) as path:
        pq.write_table(rows, path, compression="zstd")
    # A class without rows in a fold has no score there.
    scores = [numbers(run.metrics[SPLIT]) for run in runs]
    table = pd.DataFrame(scores, index=range(len(runs)), dtype=object)
    spreads = measure_spread(table).to_dict("index")
    metrics = {
        str(name): {"folds": [found.get(str(name)) for found in scores], **spread}
        for name, spread in spreads.items()
    }
    results = {
        "n_rows": rows.num_rows,
        "n_untested_rows": n_untested,
        "folds": [
            {
                "run": run.path.name,
                "best": run.record["best"]["score"],
                "n_rows": {split: sum(counts) for split, counts in run.schema.class_counts.items()},
            }
            for run in runs
        ],
        "metrics": metrics,
        "out_of_fold": score_rows(rows, runs),
    }
    write_json(folder / CROSS_VALIDATION, results)
    return results


def numbers(scores: Mapping[str, Any]) -> dict[str, float]:
    """Give the scores of an evaluation by dotted key, without intervals, row counts and what was fitted."""
    kept = flatten({key: value for key, value in scores.items() if key not in ("intervals", "n_rows")})
    kept = {k: x for k, x in kept.items() if not k.startswith(("decision.confusion.", "decision.goal."))}
    left_out = (".support", ".temperature", ".half_width", ".level")
    return {key: value for key, value in kept.items() if is_number(value) and not key.endswith(left_out)}


def gather_rows(runs: Sequence[Run]) -> tuple[pa.Table, int]:
    """Give the predictions of all folds in the order of the table's rows, and the number of rows in no fold.

    `row` counts the rows that `drop_columns` keeps, from 0. Keys of the table come first.
    """
    parts, n_rows = [], 0
    for fold, run in enumerate(runs):
        pipeline = run.located_config.pipeline
        [(codes, splits)] = interim.read_codes(interim.interim_path(pipeline, "split"), interim.SPLIT_COLUMN)
        n_rows, tested = len(codes), np.flatnonzero(codes == splits.index(SPLIT))
        predictions = pq.read_table(run.path / PREDICTIONS.format(split=SPLIT))
        if len(tested) != predictions.num_rows:
            found = f"{predictions.num_rows:,} of {len(tested):,}: evaluate it again"
            raise ValueError(f"{run.path} must predict all its test rows; got {found}")
        predictions = predictions.add_column(0, ROW, pa.array(tested))
        parts.append(predictions.add_column(0, FOLD, pa.array(np.full(len(tested), fold, np.int16))))
    rows = pa.concat_tables(parts).sort_by(ROW)
    for place, (name, values) in enumerate(read_keys(runs[0], rows).items()):
        rows = rows.add_column(place, name, values)
    return rows, n_rows - rows.num_rows


def read_keys(run: Run, rows: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Read the keys of rows; one with the name of a column of the predictions has ` (key)` behind it."""
    pipeline = run.located_config.pipeline
    schema = interim.table_schema(pipeline)
    if not schema.keys:
        return {}
    labelled = labelled_rows(pipeline.paths.raw, schema, classes=run.preprocessor.classes)
    keys = pa.Table.from_batches(batch.select(schema.keys) for batch in labelled).take(rows[ROW])
    return {f"{name} (key)" if name in rows.column_names else name: keys[name] for name in schema.keys}


def score_rows(rows: pa.Table, runs: Sequence[Run]) -> dict[str, Any]:
    """Score all predictions as an evaluation does; `calibrated` are those with each fold's calibration."""
    columns = {name: rows[name].to_numpy().copy() for name in rows.column_names}
    tasks = [task_of(run.schema) for run in runs]
    predictions, values = tasks[0].read_predictions(columns).astype(float), columns["label"]
    parts = [
        task.answer(
            predictions[columns[FOLD] == fold], task.read_calibration(run.metrics[SPLIT]["calibrated"])
        )
        for fold, (task, run) in enumerate(zip(tasks, runs, strict=True))
    ]
    answers = np.empty((len(values), parts[0].shape[1]))
    for fold, part in enumerate(parts):
        answers[columns[FOLD] == fold] = part
    weights = columns.get("weight") if runs[0].schema.weight_sums else None
    scores = tasks[0].score_values(predictions, values, weights).report()
    return {**scores, "calibrated": tasks[0].score_answers(answers, values, weights)}


def write_table(results: Mapping[str, Any]) -> str:
    """Write the scores for a terminal: the spread of each metric over folds, and that of all rows."""
    cells, all_rows = [], flatten(results["out_of_fold"])
    for name, found in results["metrics"].items():
        if not name.startswith("per_class."):
            whole = all_rows.get(name)
            text = None if whole is None else f"{whole:.{decimals(abs(whole))}f}"
            cells.append([name, *spread_cells(SimpleNamespace(**found)), text])
    headers = ["metric", "mean ± sd over folds", "95 % interval of the mean", "all rows"]
    n_rows, rest = results["n_rows"], results["n_untested_rows"]
    left_out = f"; {rest:,} rows, which no fold tests, are left out" if rest else ""
    return f"{len(results['folds'])} folds, {n_rows:,} rows{left_out}\n\n{render(headers, cells)}"

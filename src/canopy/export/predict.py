"""Predict the rows of a table of any size, with a run or a bundle."""

import functools
import logging
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
from omegaconf import DictConfig, OmegaConf

from canopy.engines import open_engine
from canopy.export.manifest import MANIFEST_FILE
from canopy.export.open_model import Model, open_model
from canopy.export.registry import local_bundle
from canopy.files import read_json, sha256, write_json
from canopy.places import require_file
from canopy.runs.run import BEST_CHECKPOINT
from canopy.schema.columns import first_repeated
from canopy.tables.parse import Problems
from canopy.tables.rows import TableReader
from canopy.tables.text import find_files
from canopy.tables.writer import STANDARD_OUTPUT, open_writer
from canopy.tasks.answers import LabelScores

log = logging.getLogger(__name__)

# Which model wrote a folder of predictions, and with which options; where a model of a registry is meanwhile.
RECORD, OPTIONS, BUNDLE = "_model.json", ("format", "on_error"), "_bundle"


@dataclass
class Summary:
    """What was found in files that were predicted."""

    n_rows: int
    unseen: Counter[str]
    scores: LabelScores

    def merge(self, other: "Summary") -> None:
        self.n_rows += other.n_rows
        self.unseen.update(other.unseen)
        self.scores.merge(other.scores)

    def log(self, seconds: float, target: Path | str) -> None:
        for name, count in self.unseen.items():
            of = f"{count:,} of {self.n_rows:,} rows"
            log.warning("%r: %s have a category that was unseen, rare or dropped in training", name, of)
        if self.scores.n_labels:
            log.log(logging.INFO if self.scores.n_rows else logging.WARNING, "%s", self.scores)
        level = logging.INFO if self.n_rows else logging.WARNING
        log.log(level, "Predicted %s rows in %.1f s: %s", f"{self.n_rows:,}", seconds, target)


def predict(cfg: DictConfig) -> int:
    """Predict each row of a table with a run or a bundle; `cfg` is of `configs/predict.yaml`.

    Gives the number of rows. An output that ends with a slash is a folder, with one file for each of the
    input: the engine's workers write them, and those that an earlier call has written stay.
    """
    if (cfg.run is None) == (cfg.bundle is None):
        raise ValueError(f"One of run and bundle must be given; got run={cfg.run} and bundle={cfg.bundle}")
    if cfg.on_error not in ("reject_row", "reject_file"):
        raise ValueError(f"on_error must be reject_row or reject_file; got {cfg.on_error!r}")
    started, target = time.perf_counter(), Path(str(cfg.output))
    if not target.suffix and not str(cfg.output).endswith(("/", "-")):
        raise ValueError(
            f"output must end with .csv, .parquet, or / for a folder of one file for each input; got {target}"
        )
    if str(cfg.output).endswith("/"):
        summary = predict_files(cfg, target)
    else:
        summary = predict_table(cfg, open_and_log(cfg), (str(cfg.input), target))
    if summary is None:
        return 0
    summary.log(time.perf_counter() - started, target)
    return summary.n_rows


def open_and_log(cfg: DictConfig) -> Model:
    """Open the model of a command, and log the threshold that holds."""
    model = open_model(cfg)
    if (threshold := model.threshold) is not None:
        log.info("Predicting %s from a probability of %.4g on", model.answers.groups[1], threshold)
    return model


def predict_files(cfg: DictConfig, folder: Path) -> Summary | None:
    """Predict each file of the input to one of its name in a folder, but for those that are there."""
    if cfg.format not in ("csv", "parquet"):
        raise ValueError(f"format must be csv or parquet; got {cfg.format!r}")
    files = find_files(str(cfg.input))
    if (name := first_repeated(file.name for file in files)) is not None:
        raise ValueError(
            f"The files of the input must have different names, those of their predictions; got {name!r} "
            "twice: predict each folder of files to an own one"
        )
    if cfg.run is None:
        # Once, where all machines find it.
        cfg.bundle = local_bundle(str(cfg.bundle), folder / BUNDLE)
        path = Path(cfg.bundle) / MANIFEST_FILE
    else:
        path = Path(cfg.run) / BEST_CHECKPOINT
    require_file(path, name="The model ")
    facts = {"model": sha256(path), **{name: cfg[name] for name in OPTIONS}}
    # That of a run is from its last evaluation.
    facts["threshold"] = open_and_log(cfg).threshold
    facts["keys"] = OmegaConf.to_container(cfg).get("keys")  # type: ignore[union-attr]
    record = folder / RECORD
    # Where there is nothing else, nothing was predicted, such as with an invalid option.
    is_used = folder.is_dir() and any(file.name not in (RECORD, BUNDLE) for file in folder.iterdir())
    if is_used and record.is_file():
        found = read_json(record)
        if other := [name for name, value in facts.items() if found.get(name) != value]:
            raise ValueError(
                f"{folder} must be a new folder, or hold predictions of the same model and options; got "
                f"those of another {other[0]}"
            )
    elif is_used:
        raise ValueError(f"{folder} must be a new folder, or hold predictions; got other files")
    write_json(record, facts)
    outputs = [(str(file), folder / f"{file.name}.{cfg.format}") for file in files]
    new = [item for item in outputs if not is_newer(item[1], Path(item[0]))]
    if len(new) < len(files):
        log.info("Predicted before: %d of %d files", len(files) - len(new), len(files))
    total = None
    for summary in open_engine(cfg.engine).map(partial(_predict_file, cfg, facts["model"]), new):
        if total is None:
            total = summary
        else:
            total.merge(summary)
    return total


def is_newer(path: Path, source: Path) -> bool:
    """Say whether a file is there, and was written after another one."""
    return path.is_file() and path.stat().st_mtime_ns >= source.stat().st_mtime_ns


def _predict_file(cfg: DictConfig, model: str, item: tuple[str, Path]) -> Summary:
    return predict_table(cfg, _open_once(OmegaConf.to_yaml(cfg), model), item)


@functools.lru_cache(maxsize=1)
def _open_once(config: str, _model: str) -> Model:
    """Open the model of a config, by its hash, once for all the files that a process predicts."""
    cfg = OmegaConf.create(config)
    assert isinstance(cfg, DictConfig)
    return open_model(cfg)


def predict_table(cfg: DictConfig, model: Model, item: tuple[str, Path]) -> Summary:
    """Predict the rows of a table, given by a pattern, to a file."""
    pattern, target = item
    further = [cfg["keys"]] if isinstance(cfg["keys"], str) else [*(cfg["keys"] or ())]
    table, answers, preprocessor, load = model
    schema = preprocessor.restrict(table)
    reader = TableReader(pattern, schema, with_target=False, keys=further, n_shown=None)
    if target.exists() and any(target.samefile(file.path) for file in reader.files):
        raise ValueError(f"The output must be another file than the input; found {target} as both")
    predictions_of = load()
    summary, label = Summary(0, Counter(), answers.scores(table)), table.target.column
    keys = [name for name in dict.fromkeys([*reader.schema.keys, *further]) if name != label]
    with open_writer(target, answers.schema(keys)) as write:
        for batch in reader.valid_batches():
            predictions = predictions_of(batch)
            write(answers.table(batch, predictions, keys=keys))
            summary.unseen.update(preprocessor.count_unseen(batch))
            if reader.has_target:
                summary.scores.update(batch[label], predictions)
            summary.n_rows += batch.num_rows
        if cfg.on_error == "reject_file":
            reader.problems.raise_error()
        # First: where the predictions are, all is there.
        write_rejected(reader.problems, target)
    return summary


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

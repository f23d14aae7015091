"""Freeze a cross-validation: the runs of all folds as one bundle that gives their mean probabilities."""

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor, nn

from canopy import __version__
from canopy.evaluation.inference import Predictor
from canopy.export.export import BATCH_SIZE, compare, predict_pt2
from canopy.export.graph import OPSET, Columns, RawClassifier, save_onnx, save_pt2, trace
from canopy.export.manifest import FILES, MANIFEST_FILE, ONNX_FILE, PT2_FILE, Manifest
from canopy.export.scorer import open_session, run_batches
from canopy.export.statistics import measure
from canopy.files import atomic_folder, read_json, sha256
from canopy.names import by_number
from canopy.places import check_place
from canopy.prepare import interim
from canopy.prepare.labels import class_values, labelled_rows
from canopy.prepare.preprocessor import OTHER, Inputs, Preprocessor, Vocabulary
from canopy.prepare.scaling import Scaling
from canopy.runs.find import CROSS_VALIDATION, fold_runs
from canopy.runs.run import Run
from canopy.schema import TableSchema
from canopy.schema.columns import DATETIME_PARTS, Categorical
from canopy.tasks.calibration import apply_temperature

log = logging.getLogger(__name__)


class Member(NamedTuple):
    """The run of a fold, its net, and the temperature that calibrates it."""

    run: Run
    predictor: Predictor
    preprocessor: Preprocessor
    temperature: float

    @classmethod
    def load(cls, run: Run) -> "Member":
        temperature = float(run.metrics["val"]["calibrated"]["temperature"])
        predictor = Predictor(run, batch_size=BATCH_SIZE, accelerator="cpu")
        return cls(run, predictor, run.preprocessor, temperature)

    def predict(self, rows: pa.RecordBatch) -> NDArray[np.float64]:
        """Give calibrated probabilities of checked rows, shape (B, K)."""
        found = self.predictor.predict(self.preprocessor.transform(rows)).astype(float)
        return np.exp(apply_temperature(found, self.temperature))


class FoldEnsemble(nn.Module):
    """The mean of the probabilities of several graphs, each behind its own preprocessor.

    It reads what `outer`, the union of their preprocessors, makes of rows.
    """

    def __init__(self, members: Sequence[Member], outer: Preprocessor) -> None:
        super().__init__()
        self.graphs = nn.ModuleList(_Graph(member, outer) for member in members)

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        return torch.stack([graph(numeric, categorical) for graph in self.graphs]).mean(dim=0)


class _Graph(nn.Module):
    """The graph of one run, behind a translation of the inputs of the union."""

    def __init__(self, member: Member, outer: Preprocessor) -> None:
        super().__init__()
        own, names = member.preprocessor, [*outer.scalings]
        places = [names.index(name) for name in own.scalings]
        self.columns = Columns(places) if places else None
        codes = [translate(outer.categorical[name], own.categorical[name]) for name in own.categorical]
        sizes = [0, *np.cumsum([len(found) for found in codes])[:-1]]
        self.first = nn.Buffer(torch.tensor(sizes[: len(codes)], dtype=torch.int64))
        self.codes = nn.Buffer(torch.tensor(np.concatenate([*codes, np.empty(0, np.int64)])))
        self.graph = RawClassifier(member.predictor.model, own, temperature=member.temperature)

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        own = numeric[:, :0] if self.columns is None else self.columns(numeric)
        codes = self.codes[categorical + self.first] if len(self.codes) else categorical
        found: Tensor = self.graph(own, codes)
        return found


def translate(outer: Vocabulary, own: Vocabulary) -> NDArray[np.int64]:
    """Give the code that a vocabulary has for each code of the union, the last one for unseen values."""
    texts = pa.array([*outer.values, *([None] if outer.has_missing else []), "\0 unseen"], pa.string())
    return own.encode(texts)[0]


def unite(preprocessors: Sequence[Preprocessor], schema: TableSchema) -> Preprocessor:
    """Make a preprocessor that reads all that those of several runs on one table read."""
    numeric: dict[str, Scaling] = {}
    datetime: dict[str, dict[str, Scaling]] = {}
    for found in preprocessors:
        numeric = {**found.numeric, **numeric}
        for name, parts in found.datetime.items():
            datetime[name] = {**parts, **datetime.get(name, {})}
    return Preprocessor(
        numeric={name: numeric[name] for name in schema.numeric if name in numeric},
        datetime={
            name: {part: datetime[name][part] for part in DATETIME_PARTS if part in datetime[name]}
            for name in schema.datetime
            if name in datetime
        },
        categorical={
            name: unite_vocabularies([found.categorical[name] for found in preprocessors], column)
            for name, column in schema.categorical.items()
        },
        indicators=tuple(dict.fromkeys(name for found in preprocessors for name in found.indicators)),
        classes=preprocessors[0].classes,
    )


def unite_vocabularies(vocabularies: Sequence[Vocabulary], column: Categorical) -> Vocabulary:
    """Give the categories that any vocabulary of a column has, in the order of `fitting.vocabulary`."""
    kept = {value for vocabulary in vocabularies for value in vocabulary.values}
    order = [*(column.listed or ()), *sorted(kept, key=by_number)]
    values = [value for value in dict.fromkeys(order) if value in kept]
    if OTHER in kept and OTHER not in (column.listed or ()):
        values = [*(value for value in values if value != OTHER), OTHER]
    return Vocabulary(values=tuple(values), has_missing=vocabularies[0].has_missing)


def export_ensemble(folder: Path, cfg: DictConfig) -> None:
    """Write the bundle of a cross-validation, with the scores that its folds have out of fold."""
    check_place(cfg.output, option="output", marker=MANIFEST_FILE, reads=(folder,))
    results = read_json(folder / CROSS_VALIDATION)
    members = [Member.load(run) for run in fold_runs(folder)]
    pipeline = members[0].run.located_config.pipeline
    schema = interim.table_schema(pipeline)
    outer = unite([member.preprocessor for member in members], interim.kept_schema(pipeline))
    inputs, labels, expected = read_rows(members, outer, pipeline)
    program = trace(FoldEnsemble(members, outer), outer)
    records, classes = [member.run.record for member in members], class_values(outer.classes, schema)
    with atomic_folder(cfg.output) as place:
        save_onnx(program, place / ONNX_FILE)
        save_pt2(program, place / PT2_FILE)
        found = {
            ONNX_FILE: run_batches(open_session(place / ONNX_FILE), inputs),
            PT2_FILE: predict_pt2(place / PT2_FILE, inputs),
        }
        worst = max(compare(expected, values, name=name) for name, values in found.items())
        Manifest(
            table=interim.closed_schema(schema, outer),
            classes=classes,
            preprocessor=outer,
            training=measure(inputs, labels, preprocessor=outer, classes=classes),
            temperature=float(np.mean([member.temperature for member in members])),
            metrics={"test": results["out_of_fold"]},
            parity={"n_rows": len(expected), "max_difference": worst},
            run={
                "id": folder.name,
                "started": records[0].get("started"),
                "seed": records[0].get("seed"),
                "git_commit": records[0].get("git", {}).get("commit"),
                "git_dirty": any(record.get("git", {}).get("dirty") for record in records),
                "n_parameters": sum(record["training"]["n_parameters"] for record in records),
                "train_seconds": sum(record["training"]["train_seconds"] for record in records),
                "n_folds": len(members),
            },
            data={
                f"{member.run.path.name}/{name}": value
                for member in members
                for name, value in member.run.schema.sha256.items()
            },
            versions={"canopy": __version__, "torch": version("torch"), "onnx_opset": OPSET},
            files={name: sha256(place / name) for name in FILES},
        ).save(place)


def read_rows(
    members: Sequence[Member], outer: Preprocessor, pipeline: DictConfig
) -> tuple[Inputs, NDArray[np.int64], NDArray[np.float64]]:
    """Read all labelled rows: inputs, class, and the mean of the probabilities that the runs give."""
    schema, classes = interim.table_schema(pipeline), pa.array(outer.classes)
    parts: list[tuple[NDArray[Any], ...]] = []
    for rows in labelled_rows(pipeline.paths.raw, schema, classes=outer.classes):
        labels = pc.index_in(rows[schema.target.column], classes).to_numpy(zero_copy_only=False)
        probabilities = sum(member.predict(rows) for member in members) / len(members)
        parts.append((*outer.inputs(rows), labels.astype(np.int64), np.asarray(probabilities)))
    numeric, categorical, labels, expected = (np.concatenate(found) for found in zip(*parts, strict=True))
    return Inputs(numeric, categorical), labels, expected

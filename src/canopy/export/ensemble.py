"""Freeze a cross-validation: the runs of all folds as one bundle that gives the mean of their answers."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor, nn

from canopy import __version__
from canopy.evaluation.inference import Predictor
from canopy.export.export import BATCH_SIZE, compare, predict_pt2
from canopy.export.graph import OPSET, Columns, RawModel, save_onnx, save_pt2, trace
from canopy.export.manifest import FILES, MANIFEST_FILE, ONNX_FILE, PT2_FILE, Manifest
from canopy.export.model_card import CARD_FILE, render_card
from canopy.export.scorer import open_session, run_batches
from canopy.export.statistics import measure
from canopy.files import atomic_folder, read_json, sha256, write_text
from canopy.names import by_number
from canopy.places import check_place
from canopy.prepare import interim
from canopy.prepare.labels import class_values, labelled_rows
from canopy.prepare.preprocessor import OTHER, Inputs, Preprocessor, Vocabulary
from canopy.prepare.scaling import as_floats
from canopy.runs.find import CROSS_VALIDATION, fold_runs
from canopy.schema import TableSchema
from canopy.schema.columns import DATETIME_PARTS, Categorical
from canopy.tasks.decision import mean_threshold
from canopy.tasks.task import Task, task_of


class Member(NamedTuple):
    """What the run of a fold predicts with."""

    predictor: Predictor
    preprocessor: Preprocessor
    fitted: dict[str, float]

    @property
    def task(self) -> Task:
        return self.predictor.model.task

    def answer(self, rows: pa.RecordBatch) -> NDArray[np.float64]:
        """Give what a bundle of the run would answer for checked rows, shape (B, P)."""
        found = self.predictor.predict(self.preprocessor.transform(rows)).astype(float)
        return self.task.answer(found, self.fitted)


class FoldEnsemble(nn.Module):
    """The mean of the answers of some runs, of what the union of their preprocessors makes of rows."""

    def __init__(self, members: Sequence[Member], union: Preprocessor) -> None:
        super().__init__()
        self.members = nn.ModuleList(TranslatedModel(member, union) for member in members)

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        return torch.stack([member(numeric, categorical) for member in self.members]).mean(dim=0)


class TranslatedModel(RawModel):
    """The graph of a run behind a translation of the inputs that the union of several preprocessors makes."""

    def __init__(self, member: Member, union: Preprocessor) -> None:
        own, names = member.preprocessor, [*union.scalings]
        answer = member.task.answer_module(member.fitted)
        super().__init__(member.predictor.model, own, answer=answer)
        places = [names.index(name) for name in own.scalings]
        self.columns = Columns(places) if places else None
        codes = [translate(union.categorical[name], own.categorical[name]) for name in own.categorical]
        # Those of all columns behind each other, and where those of each begin.
        self.codes = nn.Buffer(torch.tensor(np.concatenate([*codes, np.empty(0, np.int64)])))
        self.first = nn.Buffer(torch.tensor(np.cumsum([0, *map(len, codes)])[:-1]))

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        own = numeric[:, :0] if self.columns is None else self.columns(numeric)
        codes = self.codes[categorical + self.first] if len(self.codes) else categorical
        return super().forward(own, codes)


def translate(union: Vocabulary, own: Vocabulary) -> NDArray[np.int64]:
    """Give the code that a vocabulary has for each code of the union, the last one for unseen values."""
    texts = pa.array([*union.values, *([None] if union.has_missing else []), "\0 unseen"], pa.string())
    return own.encode(texts)[0]


def unite(preprocessors: Sequence[Preprocessor], schema: TableSchema) -> Preprocessor:
    """Make a preprocessor that reads all that those of several runs on one table read."""
    numeric = {name: scaling for found in preprocessors for name, scaling in found.numeric.items()}
    parts = {key: scaling for found in preprocessors for key, scaling in found.scalings.items()}
    datetime = {
        name: {part: parts[f"{name}.{part}"] for part in DATETIME_PARTS if f"{name}.{part}" in parts}
        for name in schema.datetime
    }
    vocabularies = {name: [found.categorical[name] for found in preprocessors] for name in schema.categorical}
    return Preprocessor(
        numeric={name: numeric[name] for name in schema.numeric if name in numeric},
        datetime={name: found for name, found in datetime.items() if found},
        categorical={
            k: unite_vocabularies(found, schema.categorical[k]) for k, found in vocabularies.items()
        },
        indicators=tuple(dict.fromkeys(name for found in preprocessors for name in found.indicators)),
        classes=preprocessors[0].classes,
        target=preprocessors[0].target,
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
    results, runs = read_json(folder / CROSS_VALIDATION), fold_runs(folder)
    members = [
        Member(
            Predictor(run, batch_size=BATCH_SIZE, accelerator="cpu"),
            run.preprocessor,
            task_of(run.schema).read_calibration(run.metrics["val"]["calibrated"]),
        )
        for run in runs
    ]
    task = members[0].task
    pipeline = runs[0].located_config.pipeline
    schema = interim.table_schema(pipeline)
    union = unite([member.preprocessor for member in members], interim.kept_schema(pipeline))
    inputs, labels, weights, expected = read_rows(members, union, pipeline)
    program = trace(FoldEnsemble(members, union), union)
    classes = {} if schema.target.is_numeric else class_values(union.classes, schema)
    first, trained = runs[0].record, [run.record["training"] for run in runs]
    with atomic_folder(cfg.output) as place:
        save_onnx(program, place / ONNX_FILE)
        save_pt2(program, place / PT2_FILE)
        found = {
            ONNX_FILE: run_batches(open_session(place / ONNX_FILE), inputs),
            PT2_FILE: predict_pt2(place / PT2_FILE, inputs),
        }
        worst = max(compare(task, expected, values, name=name) for name, values in found.items())
        manifest = Manifest(
            table=interim.closed_schema(schema, union),
            classes=classes,
            preprocessor=union,
            training=measure(inputs, labels, weights, preprocessor=union, classes=classes),
            calibration={
                key: float(np.mean([member.fitted[key] for member in members])) for key in members[0].fitted
            },
            decision=mean_threshold([run.metrics["val"] for run in runs]),
            metrics={"test": results["out_of_fold"]},
            parity={"n_rows": len(expected), "max_difference": worst},
            run={
                "id": folder.name,
                "started": first.get("started"),
                "seed": first.get("seed"),
                "git_commit": first.get("git", {}).get("commit"),
                "git_dirty": first.get("git", {}).get("dirty"),
                "n_parameters": sum(found["n_parameters"] for found in trained),
                "train_seconds": sum(found["train_seconds"] for found in trained),
            },
            data={f"{run.path.name}/{k}": hashed for run in runs for k, hashed in run.schema.sha256.items()},
            versions={"canopy": __version__, "torch": version("torch"), "onnx_opset": OPSET},
            files={name: sha256(place / name) for name in FILES},
        )
        manifest.save(place)
        write_text(place / CARD_FILE, render_card(manifest, runs[0], folds=results))


def read_rows(
    members: Sequence[Member], union: Preprocessor, pipeline: DictConfig
) -> tuple[Inputs, NDArray[Any], NDArray[np.float32] | None, NDArray[np.float64]]:
    """Read all labelled rows: inputs, class or number, weight, and the mean of the answers of the runs."""
    schema, weight = interim.table_schema(pipeline), interim.kept_schema(pipeline).weight
    parts: list[tuple[NDArray[Any], ...]] = []
    for rows in labelled_rows(pipeline.paths.raw, schema, classes=union.classes):
        values = rows[schema.target.column]
        labels = as_floats(values) if schema.target.is_numeric else union.labels(values)
        answers = sum(member.answer(rows) for member in members) / len(members)
        own = as_floats(rows[weight] if weight else pa.nulls(len(labels), pa.float64())).astype(np.float32)
        parts.append((*union.inputs(rows), labels, own, np.asarray(answers)))
    numeric, categorical, labels, weights, expected = map(np.concatenate, zip(*parts, strict=True))
    return Inputs(numeric, categorical), labels, weights if weight else None, expected

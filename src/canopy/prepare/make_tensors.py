"""Stage `make_tensors`: turn the prepared table into tensors and describe what they hold."""

import logging
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from omegaconf import DictConfig

from canopy.engines import Local, open_engine
from canopy.files import PREPROCESSOR_FILE, SPLITS, atomic_folder, folder_beside, read_json, sha256
from canopy.prepare import interim
from canopy.prepare.interim import SPLIT_COLUMN, interim_path
from canopy.prepare.labels import class_values
from canopy.prepare.preprocessor import Preprocessor
from canopy.prepare.reductions import Sample, row_numbers
from canopy.prepare.scaling import as_floats
from canopy.prepare.shards import Layout, PieceWriter, write_shard
from canopy.schema import TableSchema
from canopy.schema.tensors import SCHEMA_FILE, CategoricalFeature, Schema, shard_name

log = logging.getLogger(__name__)

# Steps between the values that the schema holds of a feature: at most so many bins for a net's embeddings.
N_QUANTILE_STEPS = 128
TINY = 1e-12


def spread_values(values: NDArray[np.floating[Any]]) -> tuple[float, ...]:
    """Choose values that lie all over a feature, the lowest and the highest among them, ascending.

    They are quantiles in equal steps. Where several are the same, such as 0, other values take their place:
    what is rare can be distinguished too.
    """
    shares = np.linspace(0, 1, N_QUANTILE_STEPS + 1)
    # A bin of rounding errors, such as the sine of 0 and of a whole turn, would be another one elsewhere.
    ordered = np.sort(np.where(np.abs(values) < TINY, 0, values))
    chosen = np.unique(np.quantile(ordered, shares, method="nearest"))
    others = np.setdiff1d(ordered[np.diff(ordered, prepend=np.nan) != 0], chosen, assume_unique=True)
    n_more = min(len(shares) - len(chosen), len(others))
    places = np.linspace(0, len(others) - 1, n_more).round().astype(int)
    return tuple(np.union1d(chosen, others[places]).tolist())


def code_type(cardinalities: Iterable[int]) -> np.dtype[Any]:
    """Choose the smallest type that holds all codes, the greatest being that of unseen categories."""
    largest = max(cardinalities, default=0)
    return next(np.dtype(kind) for kind in (np.uint8, np.int16, np.int32) if largest <= np.iinfo(kind).max)


def run(params: DictConfig) -> None:
    schema, processed = interim.kept_schema(params), Path(params.paths.processed)
    preprocessor = Preprocessor.load(processed / PREPROCESSOR_FILE)
    path, target = interim_path(params, "cap_classes"), schema.target.column
    is_number = preprocessor.target is not None
    names = {target: target} if is_number else class_values(preprocessor.classes, schema)
    report = Path(params.paths.reports) / "class_cap.json"
    cap = read_json(report)
    try:
        n_kept = {split: int(n) for split, n in dict(cap["rows"]).items()}
        n_before = tuple(int(cap["before"][name]) for name in names.values())
        weights = cap["weights"] if schema.weight else {}
        weight_sums = {
            split: tuple(float(weights[split][name]) if split in weights else 0.0 for name in names.values())
            for split in ("train_before_cap", *SPLITS)
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{report} must hold counts of rows; got {error!r}; run "make repro"') from error
    features, categories = preprocessor.feature_names, preprocessor.categories
    layout = Layout(
        record=record_type(preprocessor, schema),
        seed=params.seed,
        shuffle=params.make_tensors.shuffle,
        n_rows={split: n_kept.get(split, 0) for split in SPLITS},
        shard_bytes=params.make_tensors.shard_mib * 2**20,
    )
    counts = {split: np.zeros(len(names), np.int64) for split in SPLITS}
    sample, engine = Sample(params.seed), open_engine(params.get("engine"))
    with ExitStack() as stack:
        pieces = stack.enter_context(folder_beside(processed / "pieces"))
        parts = [(n, part, pieces / f"{n:05d}") for n, part in enumerate(interim.part_paths(path))]
        encode = partial(_encode, preprocessor, schema, layout, params.seed)
        for found in engine.map(encode, parts):
            sample.merge(found.sample)
            for split, n in found.counts.items():
                counts[split] += n
        n_rows = {split: int(found.sum()) for split, found in counts.items() if found.any()}
        if n_rows != n_kept:
            raise ValueError(f'{report} must be of {path}, with {n_rows} rows; run "make repro"')
        log.info("Rows: %s", ", ".join(f"{split} {n:,}" for split, n in n_rows.items()))
        folders = {split: stack.enter_context(atomic_folder(processed / split)) for split in SPLITS}
        shards = [(split, shard) for split in SPLITS for shard in range(layout.n_shards(split))]
        outputs = [(*item, folders[item[0]] / Path(shard_name(*item)).name) for item in shards]
        write = partial(write_shard, layout, [folder for *_, folder in parts])
        if len(parts) == 1:
            # Processes would take longer to start than to write what one has read.
            engine = Local(n_processes=1)
        written = dict(zip(shards, engine.map(write, outputs), strict=True))
    Schema(
        target=target,
        class_values=() if is_number else tuple(names),
        class_names=() if is_number else tuple(names.values()),
        target_scaling=preprocessor.target.model_dump(exclude_none=True) if preprocessor.target else None,
        numeric=tuple(features),
        quantiles=tuple(spread_values(sample.values(name)) for name in features),
        categorical=tuple(CategoricalFeature(name=k, categories=v) for k, v in categories.items()),
        class_counts={
            "train_before_cap": n_before,
            **{split: tuple(found.tolist()) for split, found in counts.items()},
        },
        weight_sums=weight_sums if schema.weight else None,
        shards={split: tuple(w.n_rows for (of, _), w in written.items() if of == split) for split in SPLITS},
        sha256={
            PREPROCESSOR_FILE: sha256(processed / PREPROCESSOR_FILE),
            **{shard_name(*item): shard.sha256 for item, shard in written.items()},
        },
    ).save(processed / SCHEMA_FILE)


def record_type(preprocessor: Preprocessor, schema: TableSchema) -> np.dtype[np.void]:
    """Describe the values of a row, one field for each tensor (`canopy.data.dataset.Batch`)."""
    categories = preprocessor.categories
    code = code_type(map(len, categories.values()))
    fields: list[Any] = [
        ("numeric", np.float32, (len(preprocessor.feature_names),)),
        ("categorical", code, (len(categories),)),
        ("labels", np.int64 if preprocessor.target is None else np.float32),
    ]
    return np.dtype([*fields, *([("weights", np.float32)] if schema.weight else [])])


class _Encoded(NamedTuple):
    """What the rows of a part are: those of each class in each split, and a sample of the training rows."""

    counts: Mapping[str, NDArray[np.int64]]
    sample: Sample


def _encode(
    preprocessor: Preprocessor, schema: TableSchema, layout: Layout, seed: int, item: tuple[int, Path, Path]
) -> _Encoded:
    """Write the encoded rows of a part to pieces of shards, in a folder."""
    (part, path, output), target = item, schema.target.column
    n_classes, first = max(1, len(preprocessor.classes)), 0
    counts = {split: np.zeros(n_classes, np.int64) for split in SPLITS}
    sample = Sample(seed, part=part)
    with atomic_folder(output) as folder:
        writer = PieceWriter(layout, folder)
        for batch in interim.read_rows(path, interim.scaled_types(preprocessor, schema)):
            numbers = row_numbers(part, first, batch.num_rows)
            encoded, is_number = preprocessor.encode(batch), preprocessor.target is not None
            labels = as_floats(batch[target]) if is_number else preprocessor.labels(batch[target])
            for split in SPLITS:
                rows = np.flatnonzero(pc.equal(batch[SPLIT_COLUMN], split).to_numpy(zero_copy_only=False))
                numeric = encoded.numeric[rows]
                own = {"numeric": numeric, "categorical": encoded.categorical[rows], "labels": labels[rows]}
                if schema.weight:
                    own["weights"] = as_floats(batch[schema.weight])[rows]
                writer.write(split, numbers[rows], own)
                counts[split] += len(rows) if is_number else np.bincount(labels[rows], minlength=n_classes)
                if split == "train":
                    features = dict(zip(preprocessor.feature_names, numeric.T, strict=True))
                    sample.update(features, len(rows))
            first += batch.num_rows
    return _Encoded(counts, sample)

"""What the data turned out to be: written once by `make_tensors`, read by everything after it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from canopy.files import read_json, write_json

FORMAT = 3
SCHEMA_FILE = "schema.json"
HINT = 'run "make repro"; or scripts/prepare.py preparation=NAME, then train with preparation@pipeline=NAME'


def shard_name(split: str, index: int) -> str:
    """Name a file of tensors in the folder of all of them; a split has a folder of its own.

    Examples:
        >>> shard_name("train", 12)
        'train/00012.pt'
    """
    return f"{split}/{index:05}.pt"


@dataclass(frozen=True, kw_only=True)
class CategoricalFeature:
    """A categorical feature, and the category of each of its codes."""

    name: str
    categories: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Schema:
    """Features, classes and counts of a folder of tensors, in the order of their columns and of the outputs.

    Attributes:
        target: Column that is predicted.
        class_values: Value in the table of each class; none if the target is a number.
        quantiles: Of each numeric feature on the training rows, as in the tensors, ascending: values in equal
            steps of rank, and where many rows share one, others that occur.
        class_counts: Rows of each class in `train`, `val` and `test`, and in `train_before_cap`; of a number,
            the rows alone.
        weight_sums: As `class_counts`, sums of the rows' weights; None if they have none.
        target_scaling: Of a number, `canopy.prepare.scaling.TargetScaling`.
        shards: Rows of each of the files that hold a split, in order; at least one, of 0 rows where the split
            has none.
        sha256: Hash of each shard, by `shard_name`, and of the normalisation.
    """

    target: str
    class_values: tuple[int | str, ...]
    class_names: tuple[str, ...]
    numeric: tuple[str, ...]
    quantiles: tuple[tuple[float, ...], ...]
    categorical: tuple[CategoricalFeature, ...]
    class_counts: dict[str, tuple[int, ...]]
    shards: dict[str, tuple[int, ...]]
    sha256: dict[str, str]
    target_scaling: dict[str, Any] | None = None
    weight_sums: dict[str, tuple[float, ...]] | None = None

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def class_sizes(self) -> Mapping[str, Sequence[float]]:
        """Sums of the weights of each class's rows, or how many they are where they have none."""
        return self.weight_sums or self.class_counts

    @property
    def cardinalities(self) -> tuple[int, ...]:
        return tuple(len(feature.categories) for feature in self.categorical)

    def save(self, path: str | Path) -> None:
        found = {key: value for key, value in asdict(self).items() if value is not None}
        write_json(path, {"format": FORMAT, **found})

    @classmethod
    def load(cls, path: str | Path) -> "Schema":
        """Read what `save` wrote; a ValueError if it is no schema of this format."""
        content = read_json(path, hint=HINT)
        if content.get("format") != FORMAT:
            raise ValueError(f"{path} must have the format {FORMAT}; found {content.get('format')!r}; {HINT}")
        return cls(**content)

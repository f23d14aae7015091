"""What the data turned out to be: written once by `make_tensors`, read by everything after it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from canopy.files import read_json, write_json

FORMAT = 2
SCHEMA_FILE = "schema.json"

HINT = 'run "make repro", for another preparation "python scripts/prepare.py preparation=NAME"'


@dataclass(frozen=True, kw_only=True)
class CategoricalFeature:
    """A categorical feature and what its codes mean.

    Attributes:
        name: Name of the feature.
        categories: Category of each code, in the order of the codes.
    """

    name: str
    categories: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Schema:
    """Features, classes and counts of a folder of tensors.

    Attributes:
        target: Column that the class was read from.
        class_values: Value of each class in that column, in the order of the model's outputs.
        class_names: Name of each class, in the same order.
        numeric: Numeric features, in the order of the columns of `numeric` tensors.
        quantiles: Values of each numeric feature on the training rows, as they are in the tensors,
            ascending from the smallest to the largest: quantiles in equal steps, and where many rows share
            a value others that occur.
        categorical: Categorical features, in the order of the columns of `categorical` tensors.
        class_counts: Rows of each class in `train`, `val` and `test`, and in `train_before_cap`.
        sha256: Hash of each tensor file and of the normalisation.
    """

    target: str
    class_values: tuple[int, ...] | tuple[str, ...]
    class_names: tuple[str, ...]
    numeric: tuple[str, ...]
    quantiles: tuple[tuple[float, ...], ...]
    categorical: tuple[CategoricalFeature, ...]
    class_counts: dict[str, tuple[int, ...]]
    sha256: dict[str, str]

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of categories of each categorical feature."""
        return tuple(len(feature.categories) for feature in self.categorical)

    def save(self, path: str | Path) -> None:
        """Write the schema as JSON."""
        write_json(path, {"format": FORMAT, **asdict(self)})

    @classmethod
    def load(cls, path: str | Path) -> "Schema":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is no schema of this format.
        """
        content = read_json(path, hint=HINT)
        if content.get("format") != FORMAT:
            raise ValueError(f"{path} must have the format {FORMAT}; found {content.get('format')!r}; {HINT}")
        return cls._from_json(content)

    @classmethod
    def _from_json(cls, content: dict[str, Any]) -> "Schema":
        return cls(
            target=content["target"],
            class_values=tuple(content["class_values"]),
            class_names=tuple(content["class_names"]),
            numeric=tuple(content["numeric"]),
            quantiles=tuple(tuple(quantiles) for quantiles in content["quantiles"]),
            categorical=tuple(
                CategoricalFeature(name=feature["name"], categories=tuple(feature["categories"]))
                for feature in content["categorical"]
            ),
            class_counts={name: tuple(counts) for name, counts in content["class_counts"].items()},
            sha256=content["sha256"],
        )

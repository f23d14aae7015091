"""What a bundle is: `model.json`, which describes the model and names the hash of each file beside it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from canopy.bundle.statistics import TrainingStatistics
from canopy.files import read_json, sha256, write_json
from canopy.places import require_file
from canopy.table.columns import NumericColumn, OneHotGroup
from canopy.table.spec import MISSING_VALUES, TableSpec, typed_classes

FORMAT = 1
MANIFEST_FILE = "model.json"
ONNX_FILE = "model.onnx"
PT2_FILE = "model.pt2"
FILES = (ONNX_FILE, PT2_FILE)
# Names of the graph's input and output.
INPUT, OUTPUT = "rows", "probabilities"

WAY_OUT = 'make it with "make repro", that of another run with "python src/export.py run=RUN output=FOLDER"'


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All that is told of a model.

    Attributes:
        title: What the table is, for people.
        about: The same in a paragraph.
        table: The raw table: the graph's input has its features as columns, in their order; each range has
            two ends.
        unused: Features that the model does not look at; they must be given all the same.
        training: How the training rows were distributed.
        temperature: What the graph divides the net's logits by.
        metrics: Scores of the run on each split, as `metrics.json` tells them.
        parity: How far the bundle's probabilities were from the run's, at most, and on how many rows.
        run: Name, start, seed, git commit, parameters and training time of the run.
        data: SHA-256 of each file of the data that it was trained on.
        versions: What wrote the bundle.
        files: SHA-256 of each file of the bundle but this one.
        compression: How the model was made smaller than its run's, and what that cost; None if it was not.
    """

    title: str
    about: str
    table: TableSpec
    unused: tuple[str, ...]
    training: TrainingStatistics
    temperature: float
    metrics: dict[str, Any]
    parity: dict[str, float]
    run: dict[str, Any]
    data: dict[str, str]
    versions: dict[str, Any]
    files: dict[str, str]
    compression: dict[str, Any] | None = None

    def save(self, folder: str | Path) -> None:
        """Write the manifest as JSON, with a hash of its own content."""
        content = {"format": FORMAT, **asdict(self)}
        write_json(Path(folder) / MANIFEST_FILE, {**content, "sha256": _hash(content)})

    @classmethod
    def load(cls, folder: str | Path) -> "Manifest":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is no manifest of this format, or has been changed since.
        """
        path = Path(folder) / MANIFEST_FILE
        content = read_json(path, way_out=WAY_OUT)
        found = content.get("format") if isinstance(content, dict) else None
        if found != FORMAT:
            raise ValueError(f"{path} must have the format {FORMAT}; found {found!r}: {WAY_OUT}")
        expected = content.pop("sha256", None)
        if _hash(content) != expected:
            raise ValueError(
                f"{path} must have the content that its own SHA-256 is of; found another: it is damaged or "
                f"was changed, {WAY_OUT}"
            )
        try:
            return cls._from_json(content)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} must describe a model, in the format {FORMAT}; found no {error} in it: {WAY_OUT}"
            ) from error

    @classmethod
    def _from_json(cls, content: dict[str, Any]) -> "Manifest":
        fields = {name: value for name, value in content.items() if name != "format"}
        table = fields["table"]
        fields["table"] = TableSpec(
            target=table["target"],
            classes=typed_classes(table["classes"]),
            numeric=tuple(NumericColumn(**column) for column in table["numeric"]),
            groups=tuple(OneHotGroup(**group) for group in table["groups"]),
            ignored=tuple(table.get("ignored", ())),
            missing_values=tuple(table.get("missing_values", MISSING_VALUES)),
        )
        fields["unused"] = tuple(fields["unused"])
        fields["training"] = TrainingStatistics(**fields["training"])
        return cls(**fields)

    @property
    def present(self) -> list[str]:
        """The files that the bundle has beside this one, of those that a bundle may have."""
        return [name for name in FILES if name in self.files or name == ONNX_FILE]

    def check_files(self, folder: str | Path, names: Sequence[str]) -> None:
        """Refuse files that are not the ones that were exported.

        Args:
            folder: The bundle.
            names: The files to check.

        Raises:
            FileNotFoundError: If one is not there.
            ValueError: If one has another content.
        """
        for name in names:
            path = Path(folder) / name
            require_file(path, hint=f"{WAY_OUT} first")
            expected = self.files.get(name, "none")
            if (found := sha256(path)) != expected:
                raise ValueError(
                    f"{path} must have the SHA-256 {expected[:12]}... of {MANIFEST_FILE}; found "
                    f"{found[:12]}...: it is damaged or was changed, {WAY_OUT}"
                )


def _hash(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()

"""What a bundle is: `model.json`, which describes the model and names the hash of each file next to it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from canopy.export.statistics import TrainingStatistics
from canopy.files import read_json, sha256, write_json
from canopy.places import require_file
from canopy.prepare.preprocessor import Preprocessor
from canopy.schema import TableSchema
from canopy.schema.columns import Model
from canopy.tasks.answers import Answers, ClassAnswers, NumberAnswers

FORMAT = 3
MANIFEST_FILE = "model.json"
ONNX_FILE = "model.onnx"
PT2_FILE = "model.pt2"
FILES = (ONNX_FILE, PT2_FILE)
# Names of the graph's inputs and output.
INPUTS, OUTPUT = ("numeric", "categorical"), "predictions"

HINT = 'make it with "make repro", that of another run with "python src/export.py run=RUN output=FOLDER"'


class Manifest(Model):
    """What a model is.

    `table` is the raw table, `classes` are value and name of each class in the order of the graph's output,
    none of a number; the graph's inputs are `Preprocessor.inputs`. `training` is how the training rows were
    distributed, `calibration` what was fitted on the validation rows (`Task.fit_calibration`), `decision` the
    threshold of two classes that was chosen there (`Decider.fitted`), `parity` how far predictions are from
    the run's; `data` and `files` are SHA-256 by file. `compression` is None for a model as its run left it.
    """

    table: TableSchema
    classes: dict[str, str]
    preprocessor: Preprocessor
    training: TrainingStatistics
    calibration: dict[str, float]
    decision: dict[str, Any] | None = None
    metrics: dict[str, Any]
    parity: dict[str, float]
    run: dict[str, Any]
    data: dict[str, str]
    versions: dict[str, Any]
    files: dict[str, str]
    compression: dict[str, Any] | None = None

    def save(self, folder: str | Path) -> None:
        """Write the manifest as JSON, with a hash of its content."""
        content = {"format": FORMAT, **self.model_dump(mode="json")}
        write_json(Path(folder) / MANIFEST_FILE, {**content, "sha256": _hash(content)})

    @classmethod
    def load(cls, folder: str | Path) -> "Manifest":
        """Read what `save` wrote."""
        path = Path(folder) / MANIFEST_FILE
        content = read_json(path, hint=HINT)
        if content.get("format") != FORMAT:
            raise ValueError(f"{path} must be a manifest of the format {FORMAT}: {HINT}")
        if content.pop("sha256", None) != _hash(content):
            raise ValueError(f"{path} must be as it was written; got other content: {HINT}")
        del content["format"]
        return cls.model_validate(content)

    def answers(self) -> Answers:
        """Give what predictions of the graph look like."""
        if (target := self.training.target) is not None:
            return NumberAnswers(target["edges"], target["shares"])
        threshold = None if self.decision is None else self.decision["threshold"]
        return ClassAnswers(self.classes, [*self.training.classes.values()], threshold=threshold)

    @property
    def present(self) -> list[str]:
        """The files that the bundle has besides this one, of those that a bundle may have."""
        return [name for name in FILES if name in self.files or name == ONNX_FILE]

    def check_files(self, folder: str | Path) -> None:
        """Refuse files that are not the ones that were exported."""
        for name in self.present:
            path = Path(folder) / name
            require_file(path, hint=f"{HINT} first")
            expected, found = self.files.get(name, "none"), sha256(path)
            if found != expected:
                raise ValueError(
                    f"{path} must have the SHA-256 {expected[:12]}... of {MANIFEST_FILE}; found "
                    f"{found[:12]}...: it is damaged or was changed, {HINT}"
                )


def _hash(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()

"""The folder that a training run leaves: config, checkpoints, description of its data."""

import io
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from canopy.files import PARAMS, PREPROCESSOR_FILE, atomic_folder, read_json, sha256, write_json, write_text
from canopy.places import as_typed, describe_place
from canopy.quoting import escape
from canopy.schema.tensors import SCHEMA_FILE, Schema

if TYPE_CHECKING:
    from canopy.prepare.preprocessor import Preprocessor

CONFIG = "config.yaml"
BEST_CHECKPOINT = "checkpoints/best.ckpt"
LAST_CHECKPOINT = "checkpoints/last.ckpt"
RECORD = "run.json"
REPORT = "train.json"
EVALUATION = "evaluation"
METRICS = f"{EVALUATION}/metrics.json"
DIFF = "git.diff"

# Keys of the config that do not decide how a run trains.
BOOKKEEPING = ("name", "publish", "reproduce", "resume", "resume_step", "run_folder")

# What configs of earlier versions call otherwise.
RENAMED = {
    "canopy.callbacks.": "canopy.training.callbacks.",
    "canopy.loggers.": "canopy.training.loggers.",
    "ConfusionMatrixPicture": "ConfusionMatrixPlot",
    "prior_correction": "logit_adjustment",
    "\nrepeat:": "\nreproduce:",
}

# Without them, the file was cut off.
SECTIONS = ("pipeline", "data", "model")
RESTORE = 'restore it ("dvc checkout" where DVC keeps it) or train again'

# All that is needed to evaluate, export or reproduce the run elsewhere.
_PUBLISHED = (CONFIG, BEST_CHECKPOINT, SCHEMA_FILE, PREPROCESSOR_FILE, RECORD, REPORT)


class RunFolder:
    """A folder with a training run in it.

    Args:
        path: The folder.

    Raises:
        FileNotFoundError: If there is no such folder, or no training run in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / CONFIG).is_file():
            place = describe_place(self.path) or "a folder"
            found = "none in" if place == "a folder" else f"{place},"
            around = [str(parent) for parent in self.path.parents if (parent / CONFIG).is_file()]
            raise FileNotFoundError(
                f"A run folder must hold {CONFIG}; found {found} {as_typed(self.path)}: name "
                f"{around[0] if around else 'one of logs/train/runs'}"
            )

    @property
    def config(self) -> DictConfig:
        """The composed config of the run.

        Raises:
            ValueError: If the file holds anything but a mapping of plain values, or lacks a section.
        """
        path = self.path / CONFIG
        try:
            text = path.read_text(encoding="utf-8")
            for old, new in RENAMED.items():
                text = text.replace(old, new)
            config = OmegaConf.load(io.StringIO(text))
        except (YAMLError, UnicodeError) as error:
            raise ValueError(
                f"{path} must be YAML of plain values; found {' '.join(str(error).split())}: {RESTORE}"
            ) from error
        for section in SECTIONS:
            if not isinstance(config, DictConfig) or section not in config:
                raise ValueError(f"{path} must have the section {section}; found none: {RESTORE}")
        assert isinstance(config, DictConfig)
        if (smoothing := config.model.pop("label_smoothing", None)) is not None:
            # An earlier version had no other loss.
            cross_entropy = {"_partial_": True, "_target_": "torch.nn.functional.cross_entropy"}
            config.model.loss = {**cross_entropy, "label_smoothing": smoothing}
        return config

    @property
    def project(self) -> Path:
        """The project that the run belongs to: the nearest folder above it with a `params.yaml`.

        The working folder if there is none.
        """
        folders = self.path.absolute().parents
        return next((folder for folder in folders if (folder / PARAMS).is_file()), Path.cwd())

    @property
    def located_config(self) -> DictConfig:
        """The config with the paths of the run's data as the working folder sees them."""
        config = self.config
        if self.project != Path.cwd():
            OmegaConf.update(config, "data.folder", escape(str(self.project / config.data.folder)))
            for name, path in config.pipeline.paths.items():
                if name != "format":
                    config.pipeline.paths[name] = escape(str(self.project / path))
        return config

    def save_config(self, config: DictConfig) -> None:
        """Replace the config by the one that the run is resumed with."""
        write_text(self.path / CONFIG, OmegaConf.to_yaml(config))

    @property
    def best_checkpoint(self) -> Path:
        return self.path / BEST_CHECKPOINT

    @property
    def record(self) -> dict[str, Any]:
        """What `run.json` holds of the run; empty before it has started to train."""
        path = self.path / RECORD
        content: dict[str, Any] = read_json(path) if path.is_file() else {}
        return content

    @property
    def last_checkpoint(self) -> Path:
        return self.path / LAST_CHECKPOINT

    @property
    def schema(self) -> Schema:
        """The schema of the data that the run was trained on."""
        return Schema.load(self.path / SCHEMA_FILE)

    @property
    def preprocessor(self) -> "Preprocessor":
        """What was learnt from the run's training rows.

        Raises:
            ValueError: If the file is damaged, or another than the run was trained with.
        """
        # Here, since it imports Arrow.
        from canopy.prepare.preprocessor import Preprocessor

        path = self.path / PREPROCESSOR_FILE
        preprocessor = Preprocessor.load(path)
        expected = self.schema.sha256[PREPROCESSOR_FILE]
        if (found := sha256(path)) != expected:
            raise ValueError(
                f"{path} must be the one that the run was trained with, of the SHA-256 {expected[:12]}...; "
                f"got {found[:12]}...: {RESTORE}"
            )
        return preprocessor


def start_run_folder(folder: Path, config: DictConfig, data_folder: Path) -> RunFolder:
    """Put a new run's config and the description of its data into its folder."""
    for name in (SCHEMA_FILE, PREPROCESSOR_FILE):
        write_json(folder / name, read_json(data_folder / name))
    # Last: a folder with a config is a run.
    write_text(folder / CONFIG, OmegaConf.to_yaml(config))
    return RunFolder(folder)


def resume_run_folder(folder: Path) -> None:
    """Take out of the folder of a resumed run what its further training makes untrue."""
    # Scores and predictions of a checkpoint that may be replaced.
    shutil.rmtree(folder / EVALUATION, ignore_errors=True)
    # A resume is what Lightning's warning is about.
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")


def check_same_data(run: RunFolder, data_folder: Path, *, splits: Sequence[str]) -> None:
    """Refuse to resume or to score a run on other data than the run's.

    Args:
        run: The run.
        data_folder: Folder with the data that would be used.
        splits: The splits that would be used.

    Raises:
        ValueError: If one of them or the normalisation is another than the run's.
    """
    trained, present = run.schema.sha256, Schema.load(data_folder / SCHEMA_FILE).sha256
    for name in (PREPROCESSOR_FILE, *(f"{split}.pt" for split in splits)):
        expected = trained[name]
        if present.get(name) != expected:
            raise ValueError(
                f"{run.path} was trained on data whose {name} has the SHA-256 {expected[:12]}...; found "
                f"{str(present.get(name))[:12]}... in {data_folder}: restore that data or train again"
            )


def unpublished_record(folder: Path) -> dict[str, Any]:
    """Give the record of a run that has ended without the copies that were asked for; empty for any other."""
    record: dict[str, Any] = read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
    return record if record.get("published") is False and record["status"] == "finished" else {}


def publish(run: Path, target: Path) -> None:
    """Copy the parts of a finished run that later stages need, replacing what is there.

    Args:
        run: The run's folder.
        target: Folder to make; it appears complete or not at all.
    """
    with atomic_folder(target) as copy:
        # Only a run of uncommitted code has the last.
        for name in (*_PUBLISHED, *([DIFF] if (run / DIFF).is_file() else [])):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / name, copy / name)
        record = read_json(copy / RECORD)
        record.pop("published", None)
        write_json(copy / RECORD, record)

"""Start, resume and publish the folder of a run."""

import shutil
import warnings
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from canopy.files import PREPROCESSOR_FILE, atomic_folder, read_json, write_json, write_text
from canopy.runs.run import (
    BEST_CHECKPOINT,
    CONFIG,
    DIFF,
    EVALUATION,
    RECORD,
    REPORT,
)
from canopy.schema.tensors import SCHEMA_FILE

# All that is needed to evaluate, export or reproduce the run elsewhere.
_PUBLISHED = (CONFIG, BEST_CHECKPOINT, SCHEMA_FILE, PREPROCESSOR_FILE, RECORD, REPORT)


def start_run_folder(folder: Path, config: DictConfig, data_folder: Path) -> None:
    """Put a new run's config and the description of its data into its folder."""
    for name in (SCHEMA_FILE, PREPROCESSOR_FILE):
        write_json(folder / name, read_json(data_folder / name))
    # Last: a folder with a config is a run.
    write_text(folder / CONFIG, OmegaConf.to_yaml(config))


def resume_run_folder(folder: Path) -> None:
    """Remove what further training of a resumed run makes untrue from its folder."""
    # Scores and predictions of a checkpoint that may be replaced.
    shutil.rmtree(folder / EVALUATION, ignore_errors=True)
    # A resume is what Lightning's warning is about.
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")


def unpublished_record(folder: Path) -> dict[str, Any]:
    """Give the record of a run that has ended without the copies that were asked for; empty for any other."""
    record: dict[str, Any] = read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
    return record if record.get("published") is False and record["status"] == "finished" else {}


def publish(run: Path, target: Path) -> None:
    """Copy the parts of a finished run that later stages need; they appear atomically.

    Args:
        run: The run's folder.
        target: Folder to make, or to replace.
    """
    with atomic_folder(target) as copy:
        # Only a run of uncommitted code has the last.
        for name in (*_PUBLISHED, *([DIFF] if (run / DIFF).is_file() else [])):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / name, copy / name)
        record = read_json(copy / RECORD)
        record.pop("published", None)
        write_json(copy / RECORD, record)

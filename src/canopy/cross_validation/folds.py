"""The tensors of each fold, in a folder that all cross-validations with the same preparation share."""

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock
from omegaconf import DictConfig, OmegaConf

from canopy import __version__
from canopy.files import atomic_folder, sha256
from canopy.params import check_params
from canopy.prepare import cap_classes, drop_columns, make_tensors, normalize, split
from canopy.prepare.interim import interim_path
from canopy.tables.text import find_files

log = logging.getLogger(__name__)

# What decides over the tensors of the folds.
SECTIONS = ("seed", "table", "drop_columns", "split", "normalize", "cap_classes", "make_tensors")


def choose_home(params: DictConfig) -> Path:
    """Name the folder of the folds by a hash of all that decides over them, the raw table included."""
    content: Any = OmegaConf.to_container(params, resolve=True)
    facts = {name: content.get(name) for name in SECTIONS}
    facts["split"] = {key: value for key, value in facts["split"].items() if key != "fold"}
    files = find_files(params.paths.raw, hint='run "make repro" first')
    hashes = [sha256(path) for path in files]
    text = json.dumps([__version__, params.paths.format, hashes, facts], sort_keys=True, default=str)
    key = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Path(params.paths.interim).parent / "folds" / key


def fold_params(params: DictConfig, home: Path, fold: int) -> DictConfig:
    """Give `params.yaml` of one fold."""
    own = params.copy()
    own.split.fold = fold
    for name in ("interim", "processed", "reports"):
        own.paths[name] = str(home / f"fold_{fold}" / name)
    return own


def prepare_table(params: DictConfig, home: Path) -> None:
    """Run the stage that the folds share, unless its table is there."""
    place = home / "table"
    with FileLock(f"{place}.lock"):
        if not place.is_dir():
            with atomic_folder(place) as folder:
                own = params.copy()
                own.paths.interim = str(folder)
                drop_columns.run(check_params(own))


def prepare_fold(params: DictConfig) -> None:
    """Make the tensors of a fold (`fold_params`), atomically, unless they are there."""
    place = Path(params.paths.processed).parent
    with FileLock(f"{place}.lock"):
        if place.is_dir():
            return
        log.info("Preparing %s", place)
        with atomic_folder(place) as folder:
            own = params.copy()
            for name in ("interim", "processed", "reports"):
                own.paths[name] = str(folder / name)
            table = interim_path(own, "drop_columns")
            table.parent.mkdir()
            table.symlink_to((place.parent / "table" / table.name).absolute())
            for stage in (split, normalize, cap_classes, make_tensors):
                stage.run(check_params(own))
            # Exports and the predictions of all rows need the split.
            for path in (table, interim_path(own, "normalize"), interim_path(own, "cap_classes")):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

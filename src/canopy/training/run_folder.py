"""The folder that a training run leaves: config, checkpoints, description of its data."""

import shutil
import tempfile
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from canopy.data.schema import NORMALIZATION_FILE, SCHEMA_FILE, Schema

CONFIG_FOLDER = ".hydra"
BEST_CHECKPOINT = "checkpoints/best.ckpt"
REPORT = "train.json"

# All that is needed to evaluate, export or repeat the run elsewhere.
_PUBLISHED = (CONFIG_FOLDER, BEST_CHECKPOINT, SCHEMA_FILE, NORMALIZATION_FILE, REPORT)


class RunFolder:
    """A folder with a training run in it.

    Args:
        path: The folder.

    Raises:
        FileNotFoundError: If there is no such folder, or no training run in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / CONFIG_FOLDER / "config.yaml").is_file():
            raise FileNotFoundError(
                f"A run folder must hold {CONFIG_FOLDER}/config.yaml; found none in {self.path}: "
                "name one of logs/train/runs"
            )

    @property
    def config(self) -> DictConfig:
        """The composed config that the run was started with."""
        config = OmegaConf.load(self.path / CONFIG_FOLDER / "config.yaml")
        assert isinstance(config, DictConfig)
        return config

    @property
    def best_checkpoint(self) -> Path:
        return self.path / BEST_CHECKPOINT

    @property
    def schema(self) -> Schema:
        """The schema of the data that the run was trained on."""
        return Schema.load(self.path / SCHEMA_FILE)


def keep_data_description(data_folder: Path, run: Path) -> None:
    """Copy the schema and the normalisation of a run's data beside the run."""
    for name in (SCHEMA_FILE, NORMALIZATION_FILE):
        shutil.copyfile(data_folder / name, run / name)


def publish(run: Path, target: Path) -> None:
    """Copy the parts of a finished run that later stages need, replacing what is there.

    Args:
        run: The run's folder.
        target: Folder to make; it appears complete or not at all.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
        copy = Path(temporary) / target.name
        for name in _PUBLISHED:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            if (run / name).is_dir():
                shutil.copytree(run / name, copy / name)
            else:
                shutil.copyfile(run / name, copy / name)
        if target.exists():
            target.rename(Path(temporary) / "replaced")
        copy.rename(target)

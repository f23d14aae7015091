"""How a cross-validation starts: its folder, its config, the config of each fold."""

import functools
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationResolutionError

from canopy.cross_validation.folds import fold_params
from canopy.files import read_json
from canopy.runs.processes import may_still_run
from canopy.runs.run import CONFIG, RECORD
from canopy.runs.run_folder import check_written_paths

# Of a training run, for which that of a fold stands; `config.yaml` marks a run.
CONFIG_FILE = "cross_validation.yaml"


@functools.cache
def choose_folder(resume: str | None, default: str) -> str:
    """Give the folder of the cross-validation to resume, or the default one.

    `auto` is the newest next to the default that the same command started with the same files, and that
    neither finished nor still runs; without one, the default.
    """
    if resume not in (None, "auto"):
        if not (Path(str(resume)) / CONFIG_FILE).is_file():
            # OmegaConf would put words around an error.
            raise SystemExit(
                f"Error: A folder to resume must hold {CONFIG_FILE}; found none in {resume}: name one of "
                "logs/cross_validate/runs"
            )
        return str(resume)
    for path in sorted(Path(default).parent.glob(f"*/{RECORD}"), reverse=True) if resume else ():
        # Here, since it imports torch.
        from canopy.runs.environment import hash_project_files

        record = read_json(path)
        is_same = record["argv"] == typed_words() and record["files"] == hash_project_files()
        if is_same and record["status"] != "finished" and not may_still_run(record):
            return str(path.parent)
    return default


def typed_words() -> list[str]:
    """Give the words of this command, without `resume`."""
    return [word for word in sys.argv[1:] if not word.startswith("resume=")]


def choose_config(cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Give the config of a training run that all folds have, from the folder if that is resumed."""
    path = Path(cfg.run_folder) / CONFIG_FILE
    if path.is_file():
        kept = ("resume=", "n_jobs=")
        if cfg.resume != "auto" and (other := [text for text in overrides if not text.startswith(kept)]):
            found = f"{other[0]}: leave it out, or start a new one"
            raise ValueError(f"A resumed cross-validation must keep its config; got {found}")
        loaded = OmegaConf.load(path)
        assert isinstance(loaded, DictConfig)
        # The folder may be from elsewhere.
        place, present = (Path(config.pipeline.paths.interim) for config in (loaded, cfg))
        if place != present and not place.resolve().is_relative_to(Path.cwd()):
            raise ValueError(f"{path} must have its tables in this project; got {place}")
        loaded.run_folder = str(Path(cfg.run_folder).absolute())
        typed = [text.partition("=")[0].lstrip("+~") for text in overrides]
        # Rules of presets need tensors of the folds, whose processes check it again.
        with suppress(InterpolationResolutionError):
            check_written_paths(loaded, Path(cfg.run_folder), typed=typed)
        return loaded
    n_folds = cfg.split.n_folds
    if n_folds is None or n_folds < 2:
        raise ValueError(f"split.n_folds must be an integer >= 2; got {n_folds}: add split.n_folds=5")
    if cfg.trainer.devices not in (1, "1"):
        raise ValueError(f"trainer.devices must be 1, for each fold; got {cfg.trainer.devices}")
    for key in ("reproduce", "publish.run", "publish.report"):
        if (value := OmegaConf.select(cfg, key)) is not None:
            raise ValueError(f"A cross-validation takes no {key}; got {value}: leave it out")
    own, split = cfg.copy(), OmegaConf.to_container(cfg.split, resolve=True)
    with open_dict(own):
        own.pipeline.split.merge_with(split)
        own.resume = None
        own.data.folder = "${pipeline.paths.processed}"
        if own.callbacks.get("progress_bar") is not None:
            # Those of several folds would write over each other.
            own.callbacks.progress_bar = None
        own.trainer.enable_progress_bar = False
        del own.split, own.n_jobs
    return own


def fold_config(cfg: DictConfig, folder: Path, *, home: Path, fold: int) -> DictConfig:
    """Give the config of the run of a fold."""
    own = cfg.copy()
    own.pipeline = fold_params(cfg.pipeline, home, fold)
    own.run_folder = str(folder.absolute())
    own.resume = "auto" if (folder / CONFIG).is_file() else None
    return own

"""What every command shares: Hydra's entry point and the way errors reach a person."""

import atexit
import functools
import gc
import logging
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import hydra._internal.utils
from omegaconf import DictConfig, OmegaConf

from canopy.errors import nearest_or_all, report_error
from canopy.files import PARAMS
from canopy.params import check_params, mount_params
from canopy.passwords import refuse_passwords
from canopy.processes import launched_rank
from canopy.quoting import quote_texts
from canopy.run_name import run_name

log = logging.getLogger("warnings")

# Until a command runs: imports make many objects and hardly any garbage.
GC_THRESHOLDS = gc.get_threshold()
gc.set_threshold(100_000)
# At the end the process's memory goes as a whole; searching torch's objects for garbage takes 0.2 s.
atexit.register(gc.freeze)

Task = Callable[[DictConfig], Any]

# The only code that a config, one's own or that of a run folder from elsewhere, can call.
TRUSTED_TARGETS = (
    *("canopy.compare.spread.MultirunSummary", "canopy.data.datamodule.*", "canopy.nets.*", "canopy.tasks.*"),
    *("canopy.training.callbacks.*", "canopy.training.loggers.*", "canopy.training.model.*"),
    *("canopy.training.checkpoint.SafeCheckpointIO", "canopy.training.muon.*", "canopy.training.profiler.*"),
    *("lightning.Trainer", "lightning.pytorch.callbacks.*", "lightning.pytorch.loggers.*"),
    *("lightning.pytorch.profilers.*", "rtdl_num_embeddings.*"),
    *("torch.nn.*", "torch.optim.*", "torchmetrics.*"),
)

# What earlier versions called otherwise.
OLD_KEYS = {
    "model.label_smoothing": "model.loss.label_smoothing (of model/loss=cross_entropy)",
    "model.prior_correction": "model.logit_adjustment",
    "pipeline.split.left_out": "pipeline.split.column",
    "repeat": "reproduce",
    "split.left_out": "split.column",
}

CONFIGS = Path(__file__).parents[3] / "configs"


def entry_point(config_name: str, *, in_project: bool = True) -> Callable[[Task], Callable[[], None]]:
    """Make a function the command of its script, as `hydra.main` does.

    A command `in_project` needs `params.yaml`; those that take a run or a bundle by its path do not.
    """

    def decorate(task: Task) -> Callable[[], None]:
        @functools.wraps(task)
        def checked(cfg: DictConfig) -> Any:
            gc.set_threshold(*GC_THRESHOLDS)
            # Here, since a launcher may run the job in another process.
            log_warnings()
            # params.yaml is at the top of a stage's config, below `pipeline` in that of a run.
            if "table" in cfg:
                _import_arrow_without_pandas()
                return task(check_params(cfg))
            if "pipeline" in cfg:
                check_params(cfg.pipeline)
            check_keys(cfg, _load_primary(config_name))
            return task(cfg)

        hydra_main = hydra.main(
            config_path="../configs", config_name=config_name, execution_whitelist=TRUSTED_TARGETS
        )(checked)

        @functools.wraps(task)
        def command() -> None:
            sys.excepthook = report_error
            # Hydra's own report of an error has many lines; this one hands errors on to `report_error`.
            hydra._internal.utils.run_and_report = lambda func: func()  # noqa: SLF001
            _check_checkout(Path(sys.argv[0]).resolve())
            refuse_passwords(sys.argv[1:], hint="give it in the environment (docs/security.md)")
            # Those of Hydra are read as options of it; a worker of a data-parallel run starts with the same.
            sys.argv[1:] = quote_texts(sys.argv[1:], multirun={"-m", "--multirun"} & {*sys.argv} != set())
            sys.argv += _launched_words(config_name)
            for word in sys.argv[1:]:
                if (new := OLD_KEYS.get(word.partition("=")[0])) is not None:
                    raise ValueError(f"The option must be called {new}; got {word!r}")
            if in_project:
                mount_params()
            for resolver in (log_folder, run_folder, run_name):
                OmegaConf.register_resolver(resolver.__name__, resolver, replace=True)
            hydra_main()
            _remove_temporary_logs()

        return command

    return decorate


def _check_checkout(script: Path) -> None:
    """Refuse to run a script with the package of another checkout, whose code may differ."""
    own, found = script.parents[1] / "src/canopy", Path(__file__).resolve().parents[1]
    if own.is_dir() and own != found:
        raise SystemExit(
            f"Error: The package canopy must be that of the same checkout, {own}; got {found}; "
            'run "make install" there, or set PYTHONPATH=src'
        )


def _launched_words(config_name: str) -> list[str]:
    """Name the log of a process of torchrun or srun as the Trainer names that of one that it starts."""
    rank = launched_rank()
    if rank is not None and (config_name not in ("train", "evaluate") or {"-m", "--multirun"} & {*sys.argv}):
        raise ValueError(f"{sys.argv[0]} must be started once; got torchrun or srun: leave it out")
    if rank:
        return [f"hydra.job.name={config_name}_ddp_process_{rank}", "hydra.output_subdir=null"]
    return []


def _import_arrow_without_pandas() -> None:
    """Import Arrow, which would import pandas with its first array: that takes long."""
    import pyarrow as pa

    class NoPandas:
        @staticmethod
        def find_spec(name: str, *_: Any) -> None:
            if name == "pandas":
                raise ImportError(name)

    # `to_pandas` imports it all the same.
    sys.meta_path.insert(0, NoPandas)
    try:
        pa.array([], pa.int8())
        pa.array([0])
    finally:
        sys.meta_path.remove(NoPandas)


def _load_primary(name: str) -> Any:
    """Load a command's config as it is written, with the one of another command that it starts from."""
    own: Any = OmegaConf.load(CONFIGS / f"{name}.yaml")
    for item in own.defaults:
        if isinstance(item, str) and (CONFIGS / f"{item}.yaml").is_file():
            start = _load_primary(item)
            defaults = [*start.defaults, *own.defaults]
            own = OmegaConf.merge(start, own)
            own.defaults = defaults
    return own


def check_keys(cfg: DictConfig, primary: Any) -> None:
    """Refuse keys that are not in a command's primary config, as `+foo=1` or an experiment adds them."""
    # Unresolved: a single file lacks what its interpolations refer to.
    sections: Any = OmegaConf.to_container(primary)
    groups = [item if isinstance(item, str) else next(iter(item)) for item in sections.pop("defaults", [])]
    # `/params@pipeline` puts its values below `pipeline`.
    known = [({*cfg}, {*sections, *(group.rpartition("@")[2].strip("/") for group in groups)} - {"_self_"})]
    for name, content in sections.items():
        if isinstance(content, dict) and "_target_" not in content and name not in groups:
            found = {f"{name}.{key!s}" for key in cfg.get(name) or ()}
            known.append((found, {f"{name}.{key}" for key in content}))
    for found, names in known:
        for key in sorted(found - names):
            raise ValueError(f"{key} must be a key of this command's config{nearest_or_all(key, names)}")


# Once for a process: asked again when the run trains, `auto` would find no run that was killed.
@functools.cache
def run_folder(resume: str | None, default: str) -> str:
    """Give the folder of the run to resume, or the default one; the first of several processes chooses."""
    if resume is None and launched_rank() is None:
        return default
    # Here, since they import torch.
    from canopy.runs.distributed import agree_on
    from canopy.runs.resume import choose_run_folder

    try:
        return str(agree_on(lambda: default if resume is None else choose_run_folder(resume, default)))
    except (OSError, ValueError) as error:
        # OmegaConf would put words around it.
        raise SystemExit(f"Error: {error}") from error


@functools.cache
def log_folder() -> str:
    """Give the folder for logs; elsewhere than in a project they are not kept."""
    if Path(PARAMS).is_file():
        return "logs"
    return tempfile.mkdtemp(prefix="canopy-")


def _remove_temporary_logs() -> None:
    """Remove the logs of a command that is done; after an error they stay, with the traceback."""
    if (folder := log_folder()) != "logs":
        shutil.rmtree(folder, ignore_errors=True)


def log_warnings() -> None:
    """Let Python's warnings go where the log of this process goes."""
    warnings.showwarning = _log_warning  # type: ignore[assignment]
    # A log file on a full disk must not drown the message that says so.
    logging.raiseExceptions = False
    # Lightning 2.6.6 itself, with torch 2.13: there is nothing to act on here.
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*", FutureWarning)


def _log_warning(message: Warning | str, category: type[Warning], file: str, line: int, *_: Any) -> None:
    """Let Python's warnings go where the log goes, each on a line."""
    log.warning("%s: %s (%s:%d)", category.__name__, " ".join(str(message).split()), file, line)

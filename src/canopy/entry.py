"""What every command shares: Hydra's entry point and the way errors reach a person."""

import functools
import inspect
import logging
import os
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import hydra
import hydra._internal.utils
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException

from canopy.files import PARAMS, readable
from canopy.params import check_params, mount_params
from canopy.passwords import refuse_passwords
from canopy.quoting import check_words, quote_texts
from canopy.run_name import run_name
from canopy.table.names import nearest

log = logging.getLogger("warnings")

Task = Callable[[DictConfig], Any]

# The only code that a config, one's own or that of a run folder from elsewhere, can call.
TRUSTED_TARGETS = (
    "canopy.callbacks.*",
    "canopy.compare.multirun_summary.*",
    "canopy.data.datamodule.*",
    "canopy.loggers.*",
    "canopy.nets.*",
    "canopy.training.checkpoint.SafeCheckpointIO",
    "canopy.training.classifier.*",
    "canopy.training.muon.*",
    "canopy.training.profiler.*",
    "lightning.Trainer",
    "lightning.pytorch.callbacks.*",
    "lightning.pytorch.loggers.*",
    "lightning.pytorch.profilers.*",
    "rtdl_num_embeddings.*",
    "torch.nn.*",
    "torch.optim.*",
)

CONFIGS = Path(__file__).parents[2] / "configs"

# What a user's mistake raises, in our code and in the libraries'; anything else is a defect of ours.
MISTAKES = (ValueError, OSError, OmegaConfBaseException, HydraException)

# The same of Lightning's, by name: importing it takes seconds that a mistake should not cost.
LIGHTNING_MISTAKES = {"MisconfigurationException", "MisconfigurationError"}


def entry_point(config_name: str, *, in_project: bool = True) -> Callable[[Task], Callable[[], None]]:
    """Make a function the command of its script: composed config in, log file and exit code out.

    Args:
        config_name: Primary config in `configs/`, without the suffix.
        in_project: Whether the command needs `params.yaml` in the working folder. Those that take a run or a
            bundle by its path do not.

    Returns:
        A decorator like `hydra.main`. A user's mistake ends the command with its message alone, since
        Hydra has put the traceback into the run's log file; a defect ends it with the traceback.
    """

    def decorate(task: Task) -> Callable[[], None]:
        @functools.wraps(task)
        def checked(cfg: DictConfig) -> Any:
            # params.yaml stands at the top of a stage's config, below `pipeline` in that of a run.
            # Here, since a launcher may run the job in another process.
            warnings.showwarning = _log_warning
            # A log file on a full disk must not drown the message that says so.
            logging.raiseExceptions = False
            # Lightning 2.6.6 itself, with torch 2.13: nobody here can act on it.
            warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*", FutureWarning)
            if "table" in cfg:
                return task(check_params(cfg))
            if "pipeline" in cfg:
                check_params(cfg.pipeline)
            check_keys(cfg, OmegaConf.load(CONFIGS / f"{config_name}.yaml"))
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
            refuse_passwords(sys.argv[1:], way_out="give it in the environment (docs/security.md)")
            # Those of Hydra are read as options of it; a worker of a data-parallel run starts with the same.
            sys.argv[1:] = quote_texts(sys.argv[1:], multirun={"-m", "--multirun"} & {*sys.argv} != set())
            check_words(sys.argv[1:])
            if in_project:
                mount_params()
            OmegaConf.register_resolver("log_folder", _log_folder, replace=True)
            OmegaConf.register_resolver("run_folder", _run_folder, replace=True)
            OmegaConf.register_resolver("run_name", run_name, replace=True)
            hydra_main()

        return command

    return decorate


def check_keys(cfg: DictConfig, primary: Any) -> None:
    """Refuse keys that a command does not read, as `+foo=1` adds them.

    Args:
        cfg: The composed config of a command.
        primary: Its primary config file, whose defaults list and sections tell what it reads.

    Raises:
        ValueError: If there is another key.

    Examples:
        >>> primary = OmegaConf.create({"defaults": [{"model": "mlp"}], "seed": 1, "publish": {"run": None}})
        >>> check_keys(OmegaConf.create({"model": {"a": 1}, "seed": 1, "sed": 2}), primary)
        Traceback (most recent call last):
        ...
        ValueError: sed must be a key of this command's config (did you mean 'seed'?)
        >>> check_keys(OmegaConf.create({"publish": {"runs": "a"}}), primary)
        Traceback (most recent call last):
        ...
        ValueError: publish.runs must be a key of this command's config (did you mean 'publish.run'?)
    """
    # Unresolved: a file by itself lacks what its interpolations refer to.
    sections: Any = OmegaConf.to_container(primary)
    groups = [item if isinstance(item, str) else next(iter(item)) for item in sections.pop("defaults", [])]
    # `/params@pipeline` puts its values below `pipeline`.
    known = {*sections, *(group.rpartition("@")[2].strip("/") for group in groups)}
    found = {str(key) for key in cfg}
    for section, content in sections.items():
        if (
            isinstance(content, dict)
            and "_target_" not in content
            and section in cfg
            and section not in groups
        ):
            known |= {f"{section}.{key}" for key in content}
            found |= {f"{section}.{key!s}" for key in cfg[section] or ()}
    for key in sorted(found - known):
        beside = {name for name in known if name.count(".") == key.count(".")} - {"_self_"}
        raise ValueError(f"{key} must be a key of this command's config{nearest_or_all(key, beside)}")


def nearest_or_all(name: str, names: Iterable[str]) -> str:
    """Suggest the name that was probably meant, or all where none is near, as the end of an error message.

    Examples:
        >>> nearest_or_all("patiance", ["patience", "monitor"])
        " (did you mean 'patience'?)"
        >>> nearest_or_all("foo", ["patience", "monitor"])
        '; it has monitor, patience'
    """
    names = sorted(names)
    return nearest(name, names) or f"; it has {', '.join(names)}"


def option_names(target: Any) -> set[str]:
    """Collect the options of a class or function; of a class with `**options`, those of its bases too."""
    functions = [vars(cls).get("__init__") for cls in target.mro()] if inspect.isclass(target) else [target]
    names = {name for function in functions if function for name in inspect.signature(function).parameters}
    return names - {"self", "args", "kwargs", "options"}


def _check_checkout(script: Path) -> None:
    """Refuse to run a script with the package of another checkout, whose code may differ."""
    own, found = script.parents[1] / "src/canopy", Path(__file__).resolve().parent
    if own.is_dir() and own != found:
        raise SystemExit(
            f"Error: The package canopy must be that of the same checkout, {own}; found {found}; "
            'run "make install" there, or set PYTHONPATH=src'
        )


@functools.cache
def _run_folder(resume: str | None, default: str) -> str:
    """Give the folder of the run to resume, or the default one.

    Once for a process: asked again when the run trains, `auto` would find no run that was killed.
    """
    if resume is None:
        return default
    # Here, since it imports torch.
    from canopy.training.resume import choose_run_folder

    try:
        return choose_run_folder(resume, default)
    except MISTAKES as error:
        # Where it needs the folder, Hydra would tell a person's mistake as a defect, with a traceback.
        raise SystemExit(f"Error: {message_of(error)}") from error


@functools.cache
def _log_folder() -> str:
    """Give the folder for logs: in a project `logs`, elsewhere a temporary one."""
    return "logs" if Path(PARAMS).is_file() else tempfile.mkdtemp(prefix="canopy-")


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - the signature of warnings.showwarning
    line: str | None = None,  # noqa: ARG001
) -> None:
    """Let Python's warnings go where the log goes, each on a line."""
    log.warning("%s: %s (%s:%d)", category.__name__, " ".join(str(message).split()), filename, lineno)


def report_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Tell a person why the command failed: one message for a mistake, the traceback for a defect."""
    cause = root_cause(error)
    if isinstance(cause, InstantiationException) and "whitelist" in str(cause):
        cause = PermissionError(describe_refusal(str(cause)))
    mistake = isinstance(cause, MISTAKES) or _is_lightnings(cause)
    if not mistake or "HYDRA_FULL_ERROR" in os.environ:
        traceback.print_exception(kind, error, trace)
        return
    sys.stderr.write(f"Error: {message_of(cause)}\n")
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            sys.stderr.write(f"Traceback: {readable(handler.baseFilename)}\n")


def describe_refusal(text: str) -> str:
    r"""Say in a line what Hydra says in many of a target that no config may call.

    Examples:
        >>> describe_refusal(
        ...     "Target 'os.system' is not in the\nHydra execution whitelist.\nfull_key: model.net"
        ... )
        "A config can call what TRUSTED_TARGETS in src/canopy/entry.py lists; found 'os.system' as model.net"
    """
    targets = re.findall(r"Target ('[^']*')", text)
    key = re.search(r"full_key: (\S+)", text)
    place = f" as {key[1]}" if key else ""
    return f"A config can call what TRUSTED_TARGETS in src/canopy/entry.py lists; found {targets[0]}{place}"


def root_cause(error: BaseException) -> BaseException:
    """Look through the wrappers around a mistake that an instantiated object or a resolver found.

    Whatever else a config's object raises, a `TypeError` for an argument that it does not take, is a mistake
    in the config all the same: the wrapper stays, which names the key.
    """
    while isinstance(error, InstantiationException | InterpolationResolutionError):
        cause = error.__cause__
        if cause is None or not (isinstance(cause, MISTAKES) or _is_lightnings(cause)):
            return error
        error = cause
    return error


def message_of(error: BaseException) -> str:
    """Put what a person needs of an error on one line; a list of choices stays one.

    Examples:
        >>> message_of(MissingMandatoryValue("Missing mandatory value: run"))
        'Missing mandatory value: run'
    """
    text = str(error).strip()
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        choices, hint = ", ".join(error.options), nearest(name, error.options)
        return f"{group} must be one of {choices}; got {name!r}{hint}"
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        return f"{' '.join(text.split())}: {message_of(error.__cause__)}"
    if isinstance(error, MissingMandatoryValue) and error.full_key:
        return f"{error.full_key} must be given; found no value: add {error.full_key}=... to the command"
    if isinstance(error, OmegaConfBaseException):
        first = text.partition("\n")[0]
        return f"{first} (in {error.full_key})" if error.full_key else first
    if isinstance(error, InstantiationException):
        return " ".join(text.split())
    return text


def _is_lightnings(error: BaseException) -> bool:
    return type(error).__name__ in LIGHTNING_MISTAKES

"""How errors reach a person: a message of a line or two for a mistake, the traceback for a defect."""

import inspect
import logging
import os
import sys
import traceback
from collections.abc import Iterable
from types import TracebackType
from typing import Any, TypeGuard

from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException
from pydantic import ValidationError

from canopy.names import nearest, shorten
from canopy.places import display_path

# What a user's mistake raises, in our code and in the libraries'; anything else is a defect of ours.
MISTAKES = (ValueError, OSError, OmegaConfBaseException, HydraException)
# The same of Lightning's, by name: importing it takes seconds that a mistake should not cost.
LIGHTNING_MISTAKES = {"MisconfigurationException", "MisconfigurationError"}


def report_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Tell a person why the command failed: one message for a mistake, the traceback for a defect."""
    if isinstance(error, KeyboardInterrupt):
        sys.stderr.write("Interrupted\n")
        return
    cause = root_cause(error)
    if not _is_mistake(cause) or "HYDRA_FULL_ERROR" in os.environ:
        traceback.print_exception(kind, error, trace)
        return
    sys.stderr.write(f"Error: {message_of(cause)}\n")
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            sys.stderr.write(f"Traceback: {display_path(handler.baseFilename)}\n")


def root_cause(error: BaseException) -> BaseException:
    """Look through the wrappers around a mistake; around another error they stay, and name the key."""
    wrappers = InstantiationException | InterpolationResolutionError
    while isinstance(error, wrappers) and _is_mistake(error.__cause__):
        error = error.__cause__
    return error


def message_of(error: BaseException) -> str:
    """Put what a person needs of an error on one line; a list of choices stays one."""
    text = str(error).strip()
    if isinstance(error, ValidationError):
        mistake = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}; got {shorten(mistake['input'])}"
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        choices = error.options
        return f"{group} must be one of {', '.join(choices)}; got {name!r}{nearest(name, choices)}"
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        return f"{' '.join(text.split())}: {message_of(error.__cause__)}"
    if isinstance(error, OmegaConfBaseException):
        first = text.partition("\n")[0]
        return f"{first} (in {error.full_key})" if error.full_key else first
    return " ".join(text.split()) if isinstance(error, InstantiationException) else text


def _is_mistake(error: BaseException | None) -> TypeGuard[BaseException]:
    return isinstance(error, MISTAKES) or type(error).__name__ in LIGHTNING_MISTAKES


def nearest_or_all(name: str, names: Iterable[str]) -> str:
    """Suggest the name that was probably meant, or all where none is near, as the end of an error message."""
    names = sorted(names)
    return nearest(name, names) or f"; it has {', '.join(names)}"


def option_names(target: Any) -> set[str]:
    """Collect the options of a class or function; of a class with `**options`, those of its bases too."""
    functions = [vars(cls).get("__init__") for cls in target.mro()] if inspect.isclass(target) else [target]
    names = {name for function in functions if function for name in inspect.signature(function).parameters}
    return names - {"self", "args", "kwargs", "options"}

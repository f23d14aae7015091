"""Read `params.yaml`, and check it."""

import io
import shlex
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from canopy.files import PARAMS
from canopy.names import nearest
from canopy.params_sections import Params
from canopy.preset import register_rules
from canopy.quoting import escape_yaml
from canopy.schema import TableSchema

# Hydra's name of the experiment that the section `train` describes, and of its overrides alone.
TRAIN_EXPERIMENT = "params"
TRAIN_OVERRIDES = "params_overrides"


def mount_params(folder: str | Path = ".") -> DictConfig:
    """Let configs take over `params.yaml` as Hydra's config `params`, its section `train` as an experiment.

    As a folder in Hydra's search path, that of the project would be searched whenever a shell completes a
    key, and Hydra takes each `.yml` file in it for a mistake.

    Args:
        folder: The project's folder, or that of a data set.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not valid (`load_params`, `mount_train`).
    """
    content, provider = load_params(folder), str(Path(folder) / PARAMS)
    register_rules()
    ConfigStore.instance().store(name="params", node=content, provider=provider, replace=True)
    mount_train(content, folder)
    return content


def load_params(folder: str | Path = ".") -> DictConfig:
    """Read `params.yaml` of a folder, unchecked but for its sections and paths.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not YAML, a section is missing, or a path is not one word to a shell.
    """
    path = Path(folder) / PARAMS
    if not path.is_file():
        raise FileNotFoundError(
            f"Commands must run in the project's folder, next to params.yaml; found none in {Path.cwd()}"
        )
    try:
        # Plain YAML, as DVC reads it: `???` and `${...}` are texts there.
        content = OmegaConf.load(io.StringIO(escape_yaml(path.read_text(encoding="utf-8"))))
    except (yaml.YAMLError, UnicodeError) as error:
        raise ValueError(
            f"params.yaml must be YAML in UTF-8; found {' '.join(str(error).split())}"
        ) from error
    sections = [section.name for section in fields(Params)]
    if missing := [name for name in sections if not isinstance(content, DictConfig) or name not in content]:
        raise ValueError(
            f"params.yaml must have the sections {', '.join(sections)}; found none of the name {missing[0]}: "
            'git shows it whole: "git diff params.yaml"'
        )
    assert isinstance(content, DictConfig)
    for key, value in _typed({"paths": content.paths}).paths.items_ex(resolve=False):
        # The command line of a stage in dvc.yaml, which a shell reads, is made of them.
        if value is not None and shlex.quote(value) != value:
            raise ValueError(
                f"params.yaml: paths.{key} must be one word to a shell; got {value!r}: "
                "use letters, digits, /, ., _ and -"
            )
    return content


def mount_train(params: DictConfig, folder: str | Path = ".") -> None:
    """Let a run start from what `train` of `params.yaml` (in `folder`) says, below all that its command says.

    The experiment `params` is `train.experiment` with `train.overrides` on top. Another experiment, chosen by
    the command, has them below it: what it leaves open stays as the data set needs it.

    Raises:
        ValueError: If `train.overrides` are no overrides, or none that a config can hold.
    """
    typed = _typed({"train": params.train, "paths": params.paths})
    own = Path(folder) / typed.paths.configs
    # A folder with params.yaml alone is served by the configs next to the package.
    configs = own if own.is_dir() else Path(__file__).resolve().parents[2] / "configs"
    _check_choice(configs, "experiment", typed.train.experiment, key="train.experiment")
    choices, values = [], OmegaConf.create()
    for override in parse_train_overrides(typed.train.overrides):
        key, value = override.key_or_group, override.value()
        if override.is_delete() or override.is_sweep_override() or key == "experiment":
            raise ValueError(
                f"params.yaml: train.overrides must be choices and values; got {override.input_line!r}: "
                "an experiment is train.experiment, an entry to leave out is null, a range is a sweep's"
            )
        if (configs / key).is_dir() and not isinstance(value, dict):
            _check_choice(configs, key, value, key=f"{key} in train.overrides")
            group = f"/{key}@{override.package}" if override.package else f"/{key}"
            choices.append({group if override.is_add() else f"override {group}": value})
        else:
            OmegaConf.update(values, key, value)
    # An override comes last in a defaults list.
    choices.sort(key=lambda choice: next(iter(choice)).startswith("override"))
    store = partial(ConfigStore.instance().store, package="_global_", provider="params.yaml", replace=True)
    below = {"defaults": ["_self_", *choices]}
    store(name=TRAIN_OVERRIDES, node=OmegaConf.merge(below, values))
    whole = {"defaults": [typed.train.experiment, "_self_", *choices]}
    store(name=TRAIN_EXPERIMENT, group="experiment", node=OmegaConf.merge(whole, values))


def parse_train_overrides(text: str) -> list[Override]:
    """Split and parse `train.overrides` of `params.yaml`.

    Raises:
        ValueError: If a quotation mark is not closed, or a part is no override.

    Examples:
        >>> [override.input_line for override in parse_train_overrides("seed=1 'model.net.hidden=[8, 8]'")]
        ['seed=1', 'model.net.hidden=[8, 8]']
    """
    word = text
    try:
        return [OverridesParser.create().parse_override(word := part) for part in shlex.split(text)]
    except (ValueError, HydraException) as error:
        reason = str(error) if isinstance(error, ValueError) else f"{word!r} is no key=value"
        raise ValueError(
            "params.yaml: train.overrides must be overrides as they are typed in a shell, such as "
            f"\"seed=1 'model.net.hidden=[8, 8]'\"; got {text!r}: {reason}"
        ) from error


def check_params(params: DictConfig | dict[str, Any]) -> DictConfig:
    """Check the content of `params.yaml`, overrides included, and give each value its type.

    Raises:
        ValueError: If a key is unknown, a value has the wrong type, or the schema of the table is invalid.

    Examples:
        >>> check_params({"seed": "many"})
        Traceback (most recent call last):
        ...
        ValueError: params.yaml: Value 'many' of type 'str' could not be converted to Integer (in seed)
    """
    checked = _typed(params)
    if not 0 <= checked.seed < 2**32:
        raise ValueError(f"params.yaml: seed must be from 0 to 2**32 - 1; found {checked.seed}")
    TableSchema.parse(OmegaConf.to_container(checked.table))  # type: ignore[arg-type]
    return checked


def _check_choice(configs: Path, group: str, choice: Any, *, key: str) -> None:
    """Refuse what a group of configs does not have; Hydra brings its own choices for its groups.

    A data set's own configs count where they are below `configs`, which the stage `train` depends on.
    """
    choices = sorted(path.stem for path in configs.glob(f"**/{group}/*.yaml"))
    if isinstance(choice, str) and choice not in choices and not group.startswith("hydra/"):
        raise ValueError(
            f"params.yaml: {key} must be one of {', '.join(choices)}; "
            f"got {choice!r}{nearest(choice, choices)}"
        )


def _typed(params: DictConfig | dict[str, Any]) -> DictConfig:
    try:
        typed = OmegaConf.merge(OmegaConf.structured(Params), params)
    except OmegaConfBaseException as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"params.yaml: {reason} (in {error.full_key})") from error
    assert isinstance(typed, DictConfig)
    return typed

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

import canopy.preset  # noqa: F401 - the rules of configs
from canopy.files import PARAMS
from canopy.names import shorten
from canopy.params_sections import Decision, Params
from canopy.quoting import escape_yaml
from canopy.schema import TableSchema

# Hydra's name of the experiment that the section `train` describes, and of its overrides alone.
TRAIN_EXPERIMENT, TRAIN_OVERRIDES = "params", "params_overrides"


def mount_params(folder: str | Path = ".") -> DictConfig:
    """Let configs take over a folder's `params.yaml` as Hydra's config `params`, with its experiment."""
    # As a folder in Hydra's search path, the project's would be searched at each completion by a shell.
    content, provider = load_params(folder), str(Path(folder) / PARAMS)
    ConfigStore.instance().store(name="params", node=content, provider=provider, replace=True)
    mount_train(content, folder)
    return content


def load_params(folder: str | Path = ".") -> DictConfig:
    """Read `params.yaml` of a folder, unchecked but for its sections."""
    path = Path(folder) / PARAMS
    if not path.is_file():
        raise FileNotFoundError(
            f"Commands must run in the project's folder, next to params.yaml; found none in {Path.cwd()}"
        )
    try:
        # Plain YAML, as DVC reads it: `???` and `${...}` are texts there.
        content = OmegaConf.load(io.StringIO(escape_yaml(path.read_text(encoding="utf-8"))))
    except (yaml.YAMLError, UnicodeError) as error:
        raise ValueError(f"params.yaml must be YAML in UTF-8; found {shorten(error, length=400)}") from error
    # The others have defaults.
    optional = {"make_tensors", "decision", "engine"}
    sections = [section.name for section in fields(Params) if section.name not in optional]
    if not isinstance(content, DictConfig) or (missing := [name for name in sections if name not in content]):
        found = f"no {missing[0]}" if isinstance(content, DictConfig) else "none of them"
        raise ValueError(f"params.yaml must have the sections {', '.join(sections)}; found {found}")
    return content


def mount_train(params: DictConfig, folder: str | Path = ".") -> None:
    """Let a run start from what `train` of `params.yaml` (in `folder`) says, below all that its command says.

    The experiment `params` is `train.experiment` with `train.overrides` on top. Another experiment, chosen by
    the command, has them below it: what it leaves open stays as the data set needs it.
    """
    typed = _typed({"train": params.train, "paths": params.paths})
    own = Path(folder) / typed.paths.configs
    # A folder with params.yaml alone is served by the configs next to the package.
    configs = own if own.is_dir() else Path(__file__).resolve().parents[2] / "configs"
    choices, values = [], OmegaConf.create()
    for override in parse_train_overrides(typed.train.overrides):
        key, value = override.key_or_group, override.value()
        if override.is_delete() or override.is_sweep_override() or key == "experiment":
            raise ValueError(
                f"params.yaml: train.overrides must be choices and values; got {override.input_line!r}: "
                "an experiment is train.experiment, an entry to leave out is null, a range is a sweep's"
            )
        if (configs / key).is_dir() and not isinstance(value, dict):
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
    """Split and parse `train.overrides` of `params.yaml`."""
    try:
        return OverridesParser.create().parse_overrides(shlex.split(text))
    except (ValueError, HydraException) as error:
        raise ValueError(
            "params.yaml: train.overrides must be overrides as they are typed in a shell, such as "
            f"\"seed=1 'model.net.hidden=[8, 8]'\"; got {text!r}: {str(error).splitlines()[0]}"
        ) from error


def check_params(params: DictConfig | dict[str, Any]) -> DictConfig:
    """Check the content of `params.yaml`, overrides included, and give each value its type."""
    checked = _typed(params)
    if not 0 <= checked.seed < 2**32:
        raise ValueError(f"params.yaml: seed must be from 0 to 2**32 - 1; found {checked.seed}")
    if not (size := checked.make_tensors.shard_mib) > 0:
        raise ValueError(f"params.yaml: make_tensors.shard_mib must be above 0; found {size}")
    TableSchema.parse(OmegaConf.to_container(checked.table))  # type: ignore[arg-type]
    read_decision(checked.decision)
    return checked


def read_decision(*sections: DictConfig | dict[str, Any]) -> dict[str, Any] | None:
    """Read the goal of a section `decision`, see `Decision.options`; later ones decide over earlier ones."""
    # So that errors name the section.
    typed = OmegaConf.create({"decision": OmegaConf.structured(Decision)})
    merged: Any = OmegaConf.merge(typed, *({"decision": section} for section in sections))
    decision: Any = OmegaConf.to_object(merged.decision)
    found: dict[str, Any] | None = decision.options()
    return found


def _typed(params: DictConfig | dict[str, Any]) -> DictConfig:
    if "left_out" in (params.get("split") or {}):
        raise ValueError("params.yaml: split.column must hold what was called split.left_out: rename it")
    try:
        typed = OmegaConf.merge(OmegaConf.structured(Params), params)
    except OmegaConfBaseException as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"params.yaml: {reason} (in {error.full_key})") from error
    assert isinstance(typed, DictConfig)
    return typed

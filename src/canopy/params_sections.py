"""The sections of `params.yaml`: their keys and types. The comments of that file say what they mean."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from omegaconf import MISSING


@dataclass
class Paths:
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
class Source:  # an address, a package or an installed package
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
    sha256: Any = MISSING  # of several files, that of each by name
    timeout_seconds: float = MISSING
    sources: list[Source] = MISSING


@dataclass
class Explore:
    nearly_constant_share: float = MISSING
    high_correlation: float = MISSING
    n_mutual_information_rows: int = MISSING


@dataclass
class DropColumns:
    columns: list[str] = MISSING


class SplitMethod(StrEnum):
    stratified = "stratified"
    ordered = "ordered"
    group = "group"
    leave_group_out = "leave_group_out"
    time = "time"
    predefined = "predefined"
    hash = "hash"


@dataclass
class Split:
    method: SplitMethod = MISSING
    test_size: float = MISSING
    val_size: float = MISSING
    column: str | None = None
    values: dict[str, Any] | None = None
    gap: Any = None  # a number, or a duration such as 7d
    n_folds: int | None = None
    fold: int = 0


@dataclass
class Method:
    columns: list[str] = MISSING
    method: str = MISSING


@dataclass
class Normalize:
    methods: list[Method] = MISSING
    target: str = "z_score"


@dataclass
class CapClasses:
    max_per_class: int | None = MISSING


@dataclass
class Train:
    experiment: str = MISSING
    overrides: str = MISSING


@dataclass
class Baselines:
    models: list[str] = MISSING


@dataclass
class Compress:
    max_accuracy_drop: float = MISSING
    max_nll_increase: float = MISSING
    max_rmse_increase: float = 0.01


@dataclass
class Params:
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

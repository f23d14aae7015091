"""The sections of `params.yaml`: their keys and types. The comments of that file say what they mean."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from math import inf
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
class MakeTensors:
    shard_mib: float = 256
    shuffle: bool | None = None


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


class Goal(StrEnum):
    argmax = "argmax"
    f_beta = "f_beta"
    cost = "cost"
    recall_at_precision = "recall_at_precision"
    precision_at_recall = "precision_at_recall"


@dataclass
class CostMatrix:
    false_positive: float = 1.0
    false_negative: float = 1.0
    true_positive: float = 0.0
    true_negative: float = 0.0


@dataclass
class Decision:
    goal: Goal | None = None
    beta: float = 1.0
    cost_matrix: CostMatrix = field(default_factory=CostMatrix)
    min_precision: float = 0.9
    min_recall: float = 0.9

    def options(self) -> dict[str, Any] | None:
        """Give the goal's name and its own option, checked; None if the likeliest class is predicted."""
        costs, share = self.cost_matrix, "be above 0 and at most 1"
        is_dearer = costs.true_negative < costs.false_positive < inf
        is_dearer &= costs.true_positive < costs.false_negative < inf
        own = {
            Goal.f_beta: ("beta", 0 < self.beta < inf, "be above 0"),
            Goal.cost: (
                "cost_matrix",
                is_dearer,
                "have a higher cost of a wrong prediction than of a right one",
            ),
            Goal.recall_at_precision: ("min_precision", 0 < self.min_precision <= 1, share),
            Goal.precision_at_recall: ("min_recall", 0 < self.min_recall <= 1, share),
        }
        if self.goal is None or self.goal is Goal.argmax:
            return None
        name, is_valid, requirement = own[self.goal]
        value = asdict(self)[name]
        if not is_valid:
            raise ValueError(f"decision.{name} must {requirement}; got {value}")
        return {"name": str(self.goal), name: value}


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
    make_tensors: MakeTensors = field(default_factory=MakeTensors)
    train: Train = field(default_factory=Train)
    baselines: Baselines = field(default_factory=Baselines)
    decision: Decision = field(default_factory=Decision)
    compress: Compress = field(default_factory=Compress)
    # Of a stage's config, configs/engine/: where its functions run, which changes nothing in what they write.
    engine: dict[str, Any] | None = None

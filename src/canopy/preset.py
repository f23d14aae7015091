"""The rules of configs: values that depend on the target, the training rows and the features."""

import logging
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from canopy.metrics import mode_of
from canopy.schema.tensors import SCHEMA_FILE, Schema

log = logging.getLogger(__name__)

WIDE = 2  # numeric features for each training row from which a table is wide
TREES = "canopy.nets.trees.Trees"
DRAFTED = "default"  # what a new data set is trained with


RULE = re.compile(r"\$\{(by_rows|if_wide|by_task):")


class Size(NamedTuple):
    """What the rules depend on: numbers of training rows and numeric features; whether the target is one."""

    n_rows: int
    n_numeric: int
    is_number: bool = False

    @classmethod
    def of(cls, schema: Schema) -> "Size":
        is_number = schema.target_scaling is not None
        return cls(sum(schema.class_counts["train"]), len(schema.numeric), is_number)


def register_rules(measure: Callable[[DictConfig], Size] | None = None) -> None:
    """Let configs say `${by_rows:{0: 32, 1000: 64}}`, by least numbers of rows, and `${if_wide:8,0}`.

    `${by_task:val/nll,val/rmse}` is the first for classes, the second for a numeric target;
    `${mode_of:val/nll}` is `min`, that of a metric of which more is better `max`.
    `measure` gives the size of the table for a config; by default, that of the tensors in `data.folder`.
    """
    size = measure or (lambda cfg: Size.of(Schema.load(Path(cfg.data.folder) / SCHEMA_FILE)))

    def by_rows(values: Mapping[int, Any], *, _root_: DictConfig) -> Any:
        n_rows = size(_root_).n_rows
        return values[max(least for least in values if least <= n_rows)]

    def if_wide(wide: Any, otherwise: Any, *, _root_: DictConfig) -> Any:
        found = size(_root_)
        return wide if found.n_numeric >= WIDE * found.n_rows else otherwise

    def by_task(of_classes: Any, of_number: Any, *, _root_: DictConfig) -> Any:
        return of_number if size(_root_).is_number else of_classes

    for rule in (by_rows, if_wide, by_task, mode_of):
        OmegaConf.register_resolver(rule.__name__, rule, replace=True)


# In each process that reads a config.
register_rules()


def settle(cfg: DictConfig, size: Size | None = None) -> None:
    """Put the values that the rules give in the place of the rules in `cfg`, so that a run's config has them.

    Examples:
        >>> cfg = OmegaConf.create({"a": "${by_rows:{0: 32, 300: 64}}", "b": ["${if_wide:8,0}"]})
        >>> settle(cfg, Size(n_rows=500, n_numeric=8))
        >>> OmegaConf.to_container(cfg)
        {'a': 64, 'b': [0]}
    """
    if size is not None:
        register_rules(lambda _: size)
    for key, value in _leaves(OmegaConf.to_container(cfg)):
        if isinstance(value, str) and RULE.search(value):
            OmegaConf.update(cfg, key, OmegaConf.select(cfg, key))
    if size is not None:
        register_rules()


def _leaves(content: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if isinstance(content, dict):
        return [leaf for key, value in content.items() for leaf in _leaves(value, f"{prefix}.{key}")]
    if isinstance(content, list):
        return [leaf for place, value in enumerate(content) for leaf in _leaves(value, f"{prefix}[{place}]")]
    return [(prefix.removeprefix("."), content)]


def leave_out_trees(cfg: DictConfig) -> None:
    """Set the trees of an ensemble in a config to null, with a warning, where CatBoost is not installed."""
    members = OmegaConf.select(cfg, "model.net.members") or {}
    trees = [name for name, net in members.items() if net and net.get("_target_") == TREES]
    if trees and find_spec("catboost") is None:
        members.update(dict.fromkeys(trees))
        hint = "which need the package catboost: pip install -e '.[baselines]'"
        log.warning("Training without the members %s, %s", ", ".join(trees), hint)


def describe_preset(size: Size, *, configs: Path) -> list[str]:
    """Give the model of the preset of new data sets, then every value that it sets, as `key=value`."""
    content: Any = OmegaConf.load(configs / "preset" / f"{DRAFTED}.yaml")
    choices = [item for item in content.pop("defaults") if item != "_self_"]
    groups = {key.removeprefix("override /"): name for item in choices for key, name in item.items()}
    net = OmegaConf.load(configs / "model" / f"{groups['model']}.yaml").net
    whole: Any = OmegaConf.merge({"model": {"net": net}}, content)
    settle(whole, size)
    values = _leaves(OmegaConf.to_container(whole, resolve=True))
    texts = [f"{key}={'null' if value is None else value}" for key, value in values if "._" not in key]
    return [f"{group}={name}" for group, name in groups.items()] + texts

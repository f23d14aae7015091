"""Tasks without data: what their schemas say of the target."""

from typing import Any

from canopy.schema.tensors import Schema
from canopy.tasks.task import Task, task_of


def class_task(*names: str) -> Task:
    """A task of classes with these names."""
    counts = dict.fromkeys(("train_before_cap", "train", "val", "test"), (10,) * len(names))
    return _task(class_values=tuple(range(len(names))), class_names=names, class_counts=counts)


def number_task(**scaling: Any) -> Task:
    """A regression, whose target is scaled so."""
    counts = dict.fromkeys(("train_before_cap", "train", "val", "test"), (10,))
    return _task(class_values=(), class_names=(), class_counts=counts, target_scaling=scaling)


def _task(**target: Any) -> Task:
    return task_of(
        Schema(target="y", numeric=(), quantiles=(), categorical=(), shards={}, sha256={}, **target)
    )

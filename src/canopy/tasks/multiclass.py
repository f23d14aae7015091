"""Classification into more than two classes."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC
from torchmetrics.utilities.data import dim_zero_cat

from canopy.tasks.classification import Classification
from canopy.tasks.weighted import WeightedRanking, WeightedTopK


class MeanAUC(MulticlassAUROC):
    """Mean AUC of each class against the rest, over the classes that have rows but not all of them."""

    def __init__(self, n_classes: int, **options: Any) -> None:
        super().__init__(n_classes, average="none", **options)

    def compute(self) -> Tensor:  # type: ignore[override]
        counts = dim_zero_cat(self.target).bincount(minlength=self.num_classes)
        with warnings.catch_warnings():
            # Of classes without rows.
            warnings.simplefilter("ignore")
            return super().compute()[(counts > 0) & (counts < counts.sum())].mean()


class Multiclass(Classification):
    """Several classes, each against the others where a score is of two."""

    kind = "multiclass"

    def own_metrics(self, *, evaluation: bool) -> dict[str, Metric]:
        """Make those of an evaluation: they sort all rows for each class."""
        if not evaluation:
            return {}
        n, options = self.n_outputs, dict[str, Any](validate_args=False)
        auc: Metric = MeanAUC(n, **options)
        top: Callable[..., Metric] = partial(MulticlassAccuracy, n, average="micro", **options)
        if self.schema.weight_sums:
            auc, top = WeightedRanking("roc_auc_score"), WeightedTopK
        return {"auc": auc, **{f"top_{k}_accuracy": top(top_k=k) for k in (2, 3, 5) if k < n}}

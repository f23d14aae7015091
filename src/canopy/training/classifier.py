"""The LightningModule that trains any net to classify rows."""

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import Metric

from canopy.data.datamodule import TensorDataModule
from canopy.data.dataset import Batch
from canopy.nets.ensemble import MixedEnsemble
from canopy.nets.trees import Trees
from canopy.schema.tensors import Schema
from canopy.tasks.losses import make_class_weights
from canopy.tasks.ranking import ranking_metrics
from canopy.tasks.scores import Scores, build_metrics

# What the schedules of torch.optim call the number of steps they last.
SCHEDULE_LENGTHS = ("total_steps", "T_max", "total_iters")
# What a checkpoint keeps of a run besides its state.
KEPT = ("train_seconds", "validation_seconds", "n_rows_trained")


class Classifier(LightningModule):
    """Train a net and score it on validation and test rows.

    Args:
        schema: Features and classes of the data.
        net: Makes the net: called with `n_numeric`, `cardinalities`, `n_classes` and `quantiles`. It returns
            logits of shape (B, K), or those of the M members of an ensemble, (B, M, K): each member
            learns alone, and the mean of their probabilities is the prediction.
        optimizer: Makes the optimiser: called with the net's parameters, and with its `hidden_weights` if it
            takes them (`hidden`).
        scheduler: Makes the schedule of the learning rate: called with the optimiser, and with the number
            of steps of the run if it takes one (`SCHEDULE_LENGTHS`). It steps after each batch.
        loss: Called with logits of shape (B, K) and labels of shape (B,); with `reduction="none"` too if
            classes have weights.
        class_weights: Weights of the classes in the loss: `none`, `balanced` (each class as much as the
            others, by its training rows) or a weight by the name of each class.
        metrics: Makes further metrics by their names: see `build_metrics`.
        logit_adjustment: Whether the net learns the class frequencies from before the cap: it trains
            on its logits plus log(frequency after / frequency before). Source: Menon et al., Long-tail
            learning via logit adjustment, 2021.
        compile: Whether training compiles the net with `torch.compile`.

    Attributes:
        scores: Scores of the latest pass over each of the splits `val` and `test`.
        train_seconds: Wall time of training, `validation_seconds` of it for validation, also before a resume.
        n_rows_trained: Rows that gradients were computed for so far.
    """

    log_prior_ratio: Tensor
    class_weights: Tensor | None

    def __init__(
        self,
        *,
        schema: Schema,
        net: Callable[..., nn.Module],
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler] | None = None,
        loss: Callable[..., Tensor] = F.cross_entropy,
        class_weights: str | Mapping[Any, float] | None = None,
        metrics: Mapping[str, Callable[..., Metric]] = MappingProxyType({}),
        logit_adjustment: bool = True,
        compile: bool = False,  # noqa: A002 - as in torch
    ) -> None:
        super().__init__()
        self.schema = schema
        self.net = net(
            n_numeric=len(schema.numeric),
            cardinalities=schema.cardinalities,
            n_classes=schema.n_classes,
            quantiles=schema.quantiles,
        )
        # What a trace of the net needs.
        codes = torch.zeros(2, len(schema.cardinalities), dtype=torch.int64)
        self.example_input_array = (torch.zeros(2, len(schema.numeric)), codes)
        # Without what Hydra does at each call of a `_partial_`, which takes 3 ms.
        self.loss = partial(loss.func, *loss.args, **loss.keywords) if isinstance(loss, partial) else loss
        counts_of = "train_before_cap" if logit_adjustment else "train"
        weights = make_class_weights(class_weights, schema, counts_of=counts_of)
        self.register_buffer("class_weights", weights, persistent=False)
        if self.class_weights is not None and "reduction" not in signature(self.loss).parameters:
            raise ValueError("model.loss must take `reduction` with model.class_weights; got one without it")
        before, after = (torch.tensor(schema.class_counts[k]).double() for k in ("train_before_cap", "train"))
        ratio = ((after / after.sum()) / (before / before.sum())).log().float()
        # A class without training rows has no frequency, and nothing to correct.
        ratio = ratio.where((before > 0) & bool(logit_adjustment), 0.0)
        assert ratio.isfinite().all(), "the stage cap_classes leaves each class rows"
        self.register_buffer("log_prior_ratio", ratio)
        collections = {split: build_metrics(schema.n_classes, metrics) for split in ("val", "test")}
        self.metrics = nn.ModuleDict(collections)
        self.scores: dict[str, Scores] = {}
        self.n_rows_trained = 0
        self.validation_seconds = self._earlier_seconds = 0.0
        self.started = time.perf_counter()
        self._compile = compile
        self._optimizer, self._scheduler = optimizer, scheduler

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """Give logits (B, K) from numeric features (B, N) and codes (B, C) of any integer type."""
        logits: Tensor = self.net(numeric, categorical.long())
        if logits.ndim == 2:
            return logits
        weights = getattr(self.net, "member_weights", None)
        log_weights = -math.log(logits.shape[1]) if weights is None else weights.log()[:, None]
        # Their softmax is the weighted mean of the members' probabilities.
        return (logits.log_softmax(dim=2) + log_weights).logsumexp(dim=1)

    @property
    def trees(self) -> dict[str, Trees]:
        """The trees among the members of the net by their names."""
        return self.net.trees if isinstance(self.net, MixedEnsemble) else {}

    def fit_trees(self, data: TensorDataModule) -> None:
        """Fit the trees among the members of the net; a class weighs as much as before the cap."""
        started = time.perf_counter()
        for trees in self.trees.values():
            val = None if "val" in data.train_splits else data.rows("val")
            weights = (-self.log_prior_ratio).exp()
            if self.class_weights is not None:
                weights = weights * self.class_weights
            trees.fit(data.rows("train"), val, class_weights=weights, seed=data.seed)
        self._earlier_seconds += time.perf_counter() - started

    @property
    def train_seconds(self) -> float:
        return self._earlier_seconds + time.perf_counter() - self.started

    def setup(self, stage: str) -> None:
        if stage in ("validate", "test"):
            further = ranking_metrics(self.schema.n_classes, evaluation=True)
            metrics: Any = self.metrics[{"validate": "val"}.get(stage, stage)]
            metrics.add_metrics({name: further[name] for name in further.keys() - metrics.keys()})
        if stage == "fit" and self._compile:
            # In place: the names of the weights stay, so that checkpoints fit both kinds of net.
            self.net.compile()

    def on_train_start(self) -> None:
        self.started = time.perf_counter()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint |= {name: getattr(self, name) for name in KEPT}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._earlier_seconds, self.validation_seconds, self.n_rows_trained = (checkpoint[k] for k in KEPT)
        # The length of the schedule is this run's, which may train longer than the checkpoint's.
        for state in checkpoint["lr_schedulers"]:
            for key in (*SCHEDULE_LENGTHS, "_schedule_phases"):
                state.pop(key, None)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits = self.net(batch.numeric, batch.categorical.long()) + self.log_prior_ratio
        labels = batch.labels
        if logits.ndim == 3:
            labels = labels.repeat_interleave(logits.shape[1])
            logits = logits.flatten(0, 1)
        if self.class_weights is None:
            loss = self.loss(logits, labels)
        else:
            weights = self.class_weights[labels]
            loss = (self.loss(logits, labels, reduction="none") * weights).sum() / weights.sum()
        self.n_rows_trained += len(batch.labels)
        # Where nothing is written, logging would only cost time.
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and (self.global_step + 1) % every == 0:
            self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._score_step(batch, "val")

    def on_validation_epoch_start(self) -> None:
        self._validation_started = time.perf_counter()

    def on_validation_epoch_end(self) -> None:
        self._finish_scores("val")
        self.validation_seconds += time.perf_counter() - self._validation_started

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._score_step(batch, "test")

    def on_test_epoch_end(self) -> None:
        self._finish_scores("test")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        takes_hidden = "hidden" in signature(self._optimizer).parameters
        hidden = {"hidden": self.net.hidden_weights()} if takes_hidden else {}  # type: ignore[operator]
        optimizer = self._optimizer(self.net.parameters(), **hidden)
        if self._scheduler is None:
            return optimizer
        taken = [name for name in SCHEDULE_LENGTHS if name in signature(self._scheduler).parameters]
        n_steps = self.trainer.estimated_stepping_batches if taken else 0
        if math.isinf(n_steps):
            raise ValueError(
                "model.scheduler lasts as long as the run, whose length must be known; got "
                "trainer.max_epochs=-1: set it or trainer.max_steps, or model.scheduler=null"
            )
        scheduler = self._scheduler(optimizer, **dict.fromkeys(taken, int(n_steps)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _score_step(self, batch: Batch, split: str) -> dict[str, Tensor]:
        logits = self(batch.numeric, batch.categorical)
        probabilities = logits.float().softmax(dim=1)
        # In double precision, which Apple's GPU lacks, sums do not depend on the order of the rows.
        exact = probabilities if self.device.type == "mps" else probabilities.double()
        self.metrics[split].update(exact, batch.labels)  # type: ignore[operator]
        return {"probabilities": probabilities, "labels": batch.labels}

    def _finish_scores(self, split: str) -> None:
        metrics: Any = self.metrics[split]
        scores = self.scores[split] = Scores.from_metrics(metrics.compute(), self.schema.class_names)
        metrics.reset()
        if not math.isfinite(scores.nll):
            raise ValueError(
                f"The loss must stay finite; found {scores.nll} on {split} rows after epoch "
                f"{self.current_epoch + 1}: lower model.optimizer.lr, or set trainer.gradient_clip_val"
            )
        for name, value in scores.summary().items():
            self.log(f"{split}/{name}", value, prog_bar=name == "accuracy", sync_dist=True)

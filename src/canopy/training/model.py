"""The LightningModule that trains any net for the task of its data."""

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from canopy.data.datamodule import TensorDataModule
from canopy.data.dataset import Batch
from canopy.nets.ensemble import MixedEnsemble
from canopy.nets.trees import Trees
from canopy.schema.tensors import Schema
from canopy.tasks.task import NO_METRICS, MetricMakers, TaskScores, task_of

# What the schedules of torch.optim call the number of steps they last.
SCHEDULE_LENGTHS = ("total_steps", "T_max", "total_iters")
# What a checkpoint keeps of a run besides its state.
KEPT = ("train_seconds", "validation_seconds", "n_rows_trained")


class TabularModel(LightningModule):
    """Train a net and score it on validation and test rows.

    Args:
        schema: Features and target of the data.
        net: Makes the net: called with `n_numeric`, `cardinalities`, `n_outputs` and `quantiles`. It returns
            outputs of shape (B, K), or those of the M members of an ensemble, (B, M, K): each member
            learns alone, and the mean of their predictions is the prediction.
        optimizer: Makes the optimiser: called with the net's parameters, and with its `hidden_weights` if it
            takes them (`hidden`).
        scheduler: Makes the schedule of the learning rate: called with the optimiser, and with the number
            of steps of the run if it takes one (`SCHEDULE_LENGTHS`). It steps after each batch.
        loss: Called with outputs, of classes logits of shape (B, K), of a number (B,), and labels of shape
            (B,); with `reduction="none"` too if classes or rows have weights. That of the task if None.
        class_weights: Weights of the classes in the loss: `none`, `balanced` (each class as much as the
            others, by its training rows or their weights) or a weight by the name of each class. Of rows with
            weights, the product counts.
        metrics: Makes further metrics by their names: see `Task.build_metrics`.
        logit_adjustment: Whether the net learns the class frequencies from before the cap: it trains
            on its logits plus log(frequency after / frequency before).
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
        loss: Callable[..., Tensor] | None = None,
        class_weights: str | Mapping[Any, float] | None = None,
        metrics: MetricMakers = NO_METRICS,
        logit_adjustment: bool = True,
        compile: bool = False,  # noqa: A002 - as in torch
    ) -> None:
        super().__init__()
        self.schema, self.task = schema, task_of(schema)
        self.net = net(
            n_numeric=len(schema.numeric),
            cardinalities=schema.cardinalities,
            n_outputs=self.task.n_outputs,
            quantiles=schema.quantiles,
        )
        # What a trace of the net needs.
        codes = torch.zeros(2, len(schema.cardinalities), dtype=torch.int64)
        self.example_input_array = (torch.zeros(2, len(schema.numeric)), codes)
        # Without what Hydra does at each call of a `_partial_`, which takes 3 ms.
        loss = partial(loss.func, *loss.args, **loss.keywords) if isinstance(loss, partial) else loss
        self.loss: Callable[..., Tensor] = loss or self.task.loss
        self.task.check_loss(self.loss)
        counts_of = "train_before_cap" if logit_adjustment else "train"
        weights = self.task.class_weights(class_weights, counts_of=counts_of)
        self.register_buffer("class_weights", weights, persistent=False)
        is_weighted = self.class_weights is not None or schema.weight_sums
        if is_weighted and "reduction" not in signature(self.loss).parameters:
            raise ValueError(
                "model.loss must take `reduction` with model.class_weights or a column of kind weight; got "
                "one without it"
            )
        ratio = self.task.log_prior_ratio()
        self.register_buffer("log_prior_ratio", ratio if logit_adjustment else torch.zeros_like(ratio))
        self.metrics = nn.ModuleDict({split: self.task.build_metrics(metrics) for split in ("val", "test")})
        self.scores: dict[str, TaskScores] = {}
        self.n_rows_trained = 0
        self.validation_seconds = self._earlier_seconds = 0.0
        self.started = time.perf_counter()
        self._compile = compile
        self._optimizer, self._scheduler = optimizer, scheduler

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """Give outputs (B, K) from numeric features (B, N) and codes (B, C) of any integer type."""
        outputs: Tensor = self.net(numeric, categorical.long())
        if outputs.ndim == 2:
            return outputs
        return self.task.average(outputs, getattr(self.net, "member_weights", None))

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
            further = self.task.build_metrics(evaluation=True)
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
        outputs = self.net(batch.numeric, batch.categorical.long()) + self.log_prior_ratio
        labels, weights = batch.labels, batch.row_weights
        if outputs.ndim == 3:
            n_members = outputs.shape[1]
            labels, outputs = labels.repeat_interleave(n_members, dim=0), outputs.flatten(0, 1)
            weights = None if weights is None else weights.repeat_interleave(n_members)
        outputs = self.task.as_loss_inputs(outputs)
        if self.class_weights is not None:
            of_class = self.class_weights[labels]
            weights = of_class if weights is None else of_class * weights
        if weights is None:
            loss = self.loss(outputs, labels)
        else:
            # Of an equal number of rows in each process, whose gradients are averaged. All may weigh 0.
            total = self.trainer.strategy.reduce(weights.sum(), reduce_op="mean")
            total = total.clamp_min(torch.finfo(weights.dtype).tiny)
            loss = (self.loss(outputs, labels, reduction="none") * weights).sum() / total
        self.n_rows_trained += len(batch.labels)
        # Where nothing is written, logging would only cost time.
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and (self.global_step + 1) % every == 0:
            self.log("train/loss", loss, prog_bar=True, sync_dist=True)
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
        predictions = self.task.predict(self(batch.numeric, batch.categorical).float())
        # In double precision, which Apple's GPU lacks, sums do not depend on the order of the rows.
        exact = predictions if self.device.type == "mps" else predictions.double()
        own = {} if batch.row_weights is None else {"weights": batch.row_weights}
        self.metrics[split].update(*self.task.metric_inputs(exact, batch.labels), **own)  # type: ignore[operator]
        return {"predictions": predictions, "labels": batch.labels, **own}

    def _finish_scores(self, split: str) -> None:
        metrics: Any = self.metrics[split]
        scores = self.scores[split] = self.task.read_scores(metrics.compute())
        metrics.reset()
        found, (main, *_) = scores.summary(), self.task.headline
        if not math.isfinite(found[self.task.finite]):
            raise ValueError(
                f"The loss must stay finite; found {found[self.task.finite]} on {split} rows after epoch "
                f"{self.current_epoch + 1}: lower model.optimizer.lr, or set trainer.gradient_clip_val"
            )
        for name, value in found.items():
            self.log(f"{split}/{name}", value, prog_bar=name == main, sync_dist=True)

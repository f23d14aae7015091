"""Make smaller variants of a run's model: pruned, distilled, and each of them quantised."""

import copy
import logging
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import onnx
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from lightning import Trainer, seed_everything
from omegaconf import DictConfig
from onnxruntime import quantization
from torch import Tensor, nn

from canopy.data.datamodule import TensorDataModule
from canopy.data.dataset import Batch, TensorRows, load_rows
from canopy.evaluation.inference import Predictor, predict_rows
from canopy.export.graph import RawModel, quiet, save_onnx, trace
from canopy.export.manifest import ONNX_FILE, Manifest
from canopy.export.scorer import batches, open_session
from canopy.nets.mlp import MLP
from canopy.prepare.preprocessor import Inputs
from canopy.runs.run import Run
from canopy.tasks.regression import Regression
from canopy.training.callbacks.progress import EpochLog
from canopy.training.model import TabularModel

log = logging.getLogger(__name__)

BATCH_SIZE = 4096
# The products with learnt matrices, of which layers consist; all else stays in single precision.
OPERATORS = ["Gemm", "MatMul"]


class Variant(NamedTuple):
    """The graph of a model, how it was made, and the calibration inside."""

    name: str
    how: str
    path: Path
    fitted: dict[str, float]


def make_variants(
    run: Run, cfg: DictConfig, manifest: Manifest, calibration: Inputs, *, folder: Path
) -> Iterator[Variant]:
    """Make all variants of a run's model, that of its bundle first; int8 has the ranges of `calibration`."""
    data_folder = run.located_config.data.folder
    train, val = (load_rows(data_folder, split, run.schema).rows for split in ("train", "val"))
    teacher = Predictor(run, batch_size=BATCH_SIZE, accelerator="cpu").model
    targets = mix_targets(teacher, train, weight=cfg.teacher_weight)
    learn = partial(teach, run, targets=targets, trainer=cfg.trainer)
    models = {}
    if isinstance(teacher.net, MLP):
        keep, epochs = cfg.prune.keep, cfg.prune.epochs
        how = f"{keep:g} of the neurons, trained for {epochs} more epochs"
        log.info("Pruning: %s", how)
        pruned = prune_neurons(teacher.net, keep=keep)
        models["pruned"] = learn(lambda **_: pruned, epochs=epochs, lr_factor=cfg.prune.lr_factor), how
    how = f"a small net, taught for {cfg.distil.epochs} epochs"
    log.info("Distilling: %s", how)
    models["distilled"] = learn(instantiate(cfg.distil.net), epochs=cfg.distil.epochs), how
    # ONNX Runtime puts its own file next to what it quantises.
    path = Path(shutil.copy(Path(cfg.bundle) / ONNX_FILE, folder / "whole.onnx"))
    made = [Variant("whole", "as exported", path, manifest.calibration)]
    for name, (model, how) in models.items():
        predicted = predict_rows(model, *val[:2], batch_size=BATCH_SIZE).astype(float)
        weights = None if val.row_weights is None else val.row_weights.numpy()
        fitted = model.task.fit_calibration(predicted, val.labels.numpy(), weights)
        whole = RawModel(model, manifest.preprocessor, answer=model.task.answer_module(fitted))
        made.append(Variant(name, how, folder / f"{name}.onnx", fitted))
        save_onnx(trace(whole, manifest.preprocessor), made[-1].path)
    for variant in made:
        path = folder / f"{variant.name}-int8.onnx"
        quantize(variant.path, path, calibration)
        yield variant
        yield Variant(f"{variant.name}, int8", f"{variant.how}; int8", path, variant.fitted)


@torch.no_grad()
def prune_neurons(net: MLP, *, keep: float) -> MLP:
    """Copy a net with the share `keep` of each hidden layer's neurons, those that carry most.

    A neuron carries as much as the weights that lead to it times those that lead away from it.
    """
    if not 0 < keep <= 1:
        raise ValueError(f"prune.keep must be above 0 and at most 1; got {keep}")
    pruned = copy.deepcopy(net)
    linear = [layer for layer in pruned.layers if isinstance(layer, nn.Linear)]
    for layer, following in pairwise(linear):
        n_kept = max(1, round(keep * layer.out_features))
        carried = layer.weight.norm(dim=1) * following.weight.norm(dim=0)
        kept = carried.topk(n_kept).indices.sort().values
        layer.weight, layer.bias = nn.Parameter(layer.weight[kept]), nn.Parameter(layer.bias[kept])
        following.weight = nn.Parameter(following.weight[:, kept])
        layer.out_features = following.in_features = n_kept
    return pruned


class TaughtData(TensorDataModule):
    """The rows of a run, its training rows with other labels: of classes probabilities, shape (n_rows, K)."""

    def __init__(self, targets: Tensor, **options: Any) -> None:
        super().__init__(**{**options, "memory_mib": None})
        self._rows["train"] = TensorRows(self.rows("train")._replace(labels=targets))


def mix_targets(teacher: TabularModel, rows: Batch, *, weight: float) -> Tensor:
    """Mix labels with a share `weight` of what a model predicts for training rows.

    Labels of classes become probabilities, shape (n_rows, K), numbers stay scaled ones, (n_rows,).

    Source: Hinton et al., Distilling the knowledge in a neural network, 2015.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"teacher_weight must be a number from 0 to 1; got {weight}")
    predicted = torch.from_numpy(predict_rows(teacher, *rows[:2], batch_size=BATCH_SIZE))
    if isinstance(teacher.task, Regression):
        [scaled] = teacher.task.scaling.apply(predicted[:, 0].numpy())
        return rows.labels.lerp(torch.from_numpy(scaled).float(), weight)
    # As frequent as the classes are among the training rows, which may be capped.
    capped = predicted * teacher.log_prior_ratio.exp()
    labels = F.one_hot(rows.labels, predicted.shape[1]).float()
    return labels.lerp(capped / capped.sum(dim=1, keepdim=True), weight)


def teach(
    run: Run,
    net: Callable[..., nn.Module],
    *,
    targets: Tensor,
    trainer: DictConfig,
    epochs: int,
    lr_factor: float = 1,
) -> TabularModel:
    """Train what `net` makes with a run's batches, optimiser and schedule; `targets` are the labels."""
    config = run.located_config
    config.model.optimizer.lr *= lr_factor
    seed_everything(config.seed, workers=True, verbose=False)
    options = {str(name): value for name, value in config.data.items() if name != "_target_"}
    model: TabularModel = instantiate(config.model)(schema=run.schema, net=net).train()
    quietly = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    callbacks = [EpochLog([f"val/{name}" for name in (model.task.finite, model.task.headline[0])])]
    fitting: Trainer = instantiate(trainer)(max_epochs=epochs, callbacks=callbacks, **quietly)
    fitting.fit(model, datamodule=TaughtData(targets, **options))
    return model.cpu().eval()


def quantize(source: Path, target: Path, rows: Inputs) -> None:
    """Give weights eight bits, and what enters layers, by ranges that are measured on `rows`."""
    graph = onnx.load(source).graph
    n_axes = {item.name: len(item.dims) for item in graph.initializer}
    # ONNX Runtime has no product of bytes with a stack of matrices, as of embeddings.
    stacks = [
        node.name
        for node in graph.node
        if node.op_type in OPERATORS and any(n_axes.get(name, 2) > 2 for name in node.input)
    ]
    calibration = batches(open_session(source, n_threads=1), rows)
    with quiet():
        quantization.quantize_static(
            source,
            target,
            SimpleNamespace(get_next=partial(next, calibration, None)),
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=OPERATORS,
            nodes_to_exclude=stacks,
            per_channel=True,
        )

"""Make the graphs of a run's smaller models: pruned, distilled, and each of them quantised."""

import logging
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from canopy.data.dataset import load_rows
from canopy.evaluation.inference import Predictor, predict_rows
from canopy.export.compress.prune import narrow
from canopy.export.compress.quantize import quantize_as_they_come, quantize_with_rows
from canopy.export.compress.teach import BATCH_SIZE, Teacher
from canopy.export.graph import RawClassifier, save_onnx, trace
from canopy.export.manifest import ONNX_FILE, Manifest
from canopy.nets.mlp import MLP
from canopy.prepare.preprocessor import Encoded, Inputs
from canopy.runs.run_folder import RunFolder
from canopy.tasks.calibration import fit_temperature
from canopy.training.classifier import Classifier

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A graph that was made: its file, how it was made, and the temperature inside."""

    path: Path
    how: str
    temperature: float


def make_graphs(
    run: RunFolder, cfg: DictConfig, manifest: Manifest, calibration: Inputs, *, folder: Path
) -> dict[str, Graph]:
    """Make all variants of a run's model.

    Args:
        run: The run.
        cfg: The composed config of `configs/compress.yaml`.
        manifest: Its bundle.
        calibration: Raw training rows to measure ranges on.
        folder: Where the files go.

    Returns:
        Graphs by name, that of the bundle first.
    """
    predictor = Predictor(run, batch_size=BATCH_SIZE, accelerator="cpu")
    # ONNX Runtime 1.32 puts its own file next to what it quantises.
    whole = Path(shutil.copy(Path(cfg.bundle) / ONNX_FILE, folder / "whole.onnx"))
    made = {"whole": Graph(path=whole, how="as exported", temperature=manifest.temperature)}
    teacher = Teacher(run, predictor.model, weight=cfg.teacher_weight)
    net = predictor.model.net
    if isinstance(net, MLP):
        log.info("Pruning to %g of each hidden layer's neurons", cfg.prune.keep)
        narrower = narrow(net, keep=cfg.prune.keep)
        model = teacher.teach(
            lambda **_: narrower,
            trainer=cfg.trainer,
            epochs=cfg.prune.epochs,
            lr_factor=cfg.prune.lr_factor,
        )
        how = f"{cfg.prune.keep:g} of the neurons, trained for {cfg.prune.epochs} more epochs"
        made["pruned"] = freeze(model, run, manifest, folder / "pruned.onnx", how=how)
    log.info("Teaching a small net")
    model = teacher.teach(instantiate(cfg.distil.net), trainer=cfg.trainer, epochs=cfg.distil.epochs)
    how = f"a small net, taught for {cfg.distil.epochs} epochs"
    made["distilled"] = freeze(model, run, manifest, folder / "distilled.onnx", how=how)
    graphs: dict[str, Graph] = {}
    for name, graph in made.items():
        static, dynamic = folder / f"{name}-int8.onnx", folder / f"{name}-int8-dynamic.onnx"
        quantize_with_rows(graph.path, static, calibration)
        quantize_as_they_come(graph.path, dynamic)
        graphs |= {
            name: graph,
            f"{name}, int8": replace(graph, path=static, how=f"{graph.how}; int8, ranges from training rows"),
            f"{name}, int8 dynamic": replace(
                graph, path=dynamic, how=f"{graph.how}; int8, ranges of each batch"
            ),
        }
    return graphs


def freeze(model: Classifier, run: RunFolder, manifest: Manifest, path: Path, *, how: str) -> Graph:
    """Write the graph of a model that was made of a run's, with its own temperature."""
    valid = load_rows(run.located_config.data.folder, "val", run.schema).rows
    encoded = Encoded(valid.numeric.numpy(), valid.categorical.numpy())
    predicted = predict_rows(model, encoded, batch_size=BATCH_SIZE)
    temperature = fit_temperature(predicted.astype(float), valid.labels.numpy())
    graph = RawClassifier(model, manifest.preprocessor, temperature=temperature)
    save_onnx(trace(graph, manifest.preprocessor), path)
    return Graph(path=path, how=how, temperature=temperature)

"""Make the graphs of a run's smaller models: pruned, distilled, and each of them quantised."""

import logging
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from canopy.data.dataset import load_rows
from canopy.evaluation.inference import Predictor, predict_rows
from canopy.export.compress.prune import prune_neurons
from canopy.export.compress.quantize import quantize_dynamic, quantize_static
from canopy.export.compress.teach import BATCH_SIZE, teach, teacher_probabilities
from canopy.export.compress.variants import DYNAMIC
from canopy.export.graph import RawClassifier, save_onnx, trace
from canopy.export.manifest import ONNX_FILE, Manifest
from canopy.nets.mlp import MLP
from canopy.prepare.preprocessor import Encoded, Inputs
from canopy.runs.run import Run
from canopy.tasks.calibration import fit_temperature

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A graph that was made: its file, how it was made, and the temperature inside."""

    path: Path
    how: str
    temperature: float


def make_graphs(
    run: Run, cfg: DictConfig, manifest: Manifest, calibration: Inputs, *, folder: Path
) -> dict[str, Graph]:
    """Make all variants of a run's model in a folder, that of its bundle first.

    Ranges are measured on the training rows `calibration`.
    """
    data_folder = run.located_config.data.folder
    teacher = Predictor(run, batch_size=BATCH_SIZE, accelerator="cpu").model
    taught = teacher_probabilities(teacher, load_rows(data_folder, "train", run.schema).rows)
    learn = partial(teach, run, taught=taught, weight=cfg.teacher_weight, trainer=cfg.trainer)
    models = {}
    if isinstance(teacher.net, MLP):
        log.info("Pruning to %g of each hidden layer's neurons", cfg.prune.keep)
        pruned = prune_neurons(teacher.net, keep=cfg.prune.keep)
        model = learn(lambda **_: pruned, epochs=cfg.prune.epochs, lr_factor=cfg.prune.lr_factor)
        how = f"{cfg.prune.keep:g} of the neurons, trained for {cfg.prune.epochs} more epochs"
        models["pruned"] = model, how
    log.info("Teaching a small net")
    model = learn(instantiate(cfg.distil.net), epochs=cfg.distil.epochs)
    models["distilled"] = model, f"a small net, taught for {cfg.distil.epochs} epochs"

    # ONNX Runtime 1.32 puts its own file next to what it quantises.
    whole = Path(shutil.copy(Path(cfg.bundle) / ONNX_FILE, folder / "whole.onnx"))
    made = {"whole": Graph(path=whole, how="as exported", temperature=manifest.temperature)}
    val = load_rows(data_folder, "val", run.schema).rows
    encoded = Encoded(val.numeric.numpy(), val.categorical.numpy())
    for name, (model, how) in models.items():
        predicted = predict_rows(model, encoded, batch_size=BATCH_SIZE)
        temperature = fit_temperature(predicted.astype(float), val.labels.numpy())
        classifier = RawClassifier(model, manifest.preprocessor, temperature=temperature)
        made[name] = Graph(path=folder / f"{name}.onnx", how=how, temperature=temperature)
        save_onnx(trace(classifier, manifest.preprocessor), made[name].path)

    graphs: dict[str, Graph] = {}
    for name, graph in made.items():
        static = replace(
            graph, path=folder / f"{name}-int8.onnx", how=f"{graph.how}; int8, ranges from training rows"
        )
        dynamic = replace(
            graph, path=folder / f"{name}-int8-dynamic.onnx", how=f"{graph.how}; int8, ranges of each batch"
        )
        quantize_static(graph.path, static.path, calibration)
        quantize_dynamic(graph.path, dynamic.path)
        graphs |= {name: graph, f"{name}, int8": static, f"{name}, {DYNAMIC}": dynamic}
    return graphs

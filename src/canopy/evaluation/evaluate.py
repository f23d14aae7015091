"""Score a run's best checkpoint on validation and test rows."""

import logging
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from lightning import Callback, Trainer
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from canopy.data.datamodule import TensorDataModule
from canopy.files import write_json
from canopy.training.checkpoint import load_checkpoint
from canopy.training.classifier import Classifier
from canopy.training.fit import instantiate_all
from canopy.training.run_folder import RunFolder, check_same_data

log = logging.getLogger(__name__)


def evaluate(run: RunFolder, cfg: DictConfig) -> dict[str, Any]:
    """Score a run and write `metrics.json` and the confusion matrix's picture.

    Args:
        run: The run.
        cfg: The composed config of `configs/evaluate.yaml`.

    Returns:
        Scores of the splits `test` and `val`, as in `metrics.json`.

    Raises:
        FileNotFoundError: If its checkpoint or the tensors are not there.
        ValueError: If the tensors are not the ones that the run was trained on.
    """
    data: TensorDataModule = instantiate(run.config.data)
    check_same_data(run, data.folder, splits=("val", "test"))
    model: Classifier = instantiate(run.config.model)(schema=data.schema)
    model.load_state_dict(load_checkpoint(run.best_checkpoint)["state_dict"])
    trainer: Trainer = instantiate(cfg.trainer)(
        callbacks=instantiate_all(cfg.callbacks, Callback),
        logger=instantiate_all(cfg.logger, Logger),
    )
    trainer.validate(model, datamodule=data, verbose=False)
    trainer.test(model, datamodule=data, verbose=False)
    report = {split: model.scores[split].report() for split in ("test", "val")}
    write_json(Path(cfg.output) / "metrics.json", report)
    for split, scores in report.items():
        log.info(
            "%s: accuracy %.4f, macro-F1 %.4f on %s rows",
            split,
            scores["accuracy"],
            scores["macro_f1"],
            f"{scores['n_rows']:,}",
        )
    return report

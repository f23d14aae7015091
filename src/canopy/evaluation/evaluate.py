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

SPLITS = ("test", "val")


def evaluate(run: RunFolder, cfg: DictConfig) -> dict[str, Any]:
    """Score a run; write `metrics.json`, the confusion matrix's picture and the predictions.

    Args:
        run: The run.
        cfg: The composed config of `configs/evaluate.yaml`.

    Returns:
        Scores of each split, as in `metrics.json`.

    Raises:
        FileNotFoundError: If its checkpoint or the tensors are not there.
        ValueError: If the tensors are not the ones that the run was trained on, or the split is unknown.
    """
    if cfg.split not in (None, *SPLITS):
        raise ValueError(f"split must be one of {[*SPLITS]}, or null for both; found {cfg.split!r}")
    splits = SPLITS if cfg.split is None else (cfg.split,)
    data: TensorDataModule = instantiate(run.config.data)
    check_same_data(run, data.folder, splits=splits)
    model: Classifier = instantiate(run.config.model)(schema=data.schema)
    model.load_state_dict(load_checkpoint(run.best_checkpoint)["state_dict"])
    trainer: Trainer = instantiate(cfg.trainer)(
        callbacks=instantiate_all(cfg.callbacks, Callback),
        logger=instantiate_all(cfg.logger, Logger),
    )
    if "val" in splits:
        trainer.validate(model, datamodule=data, verbose=False)
    if "test" in splits:
        trainer.test(model, datamodule=data, verbose=False)
    report = {split: model.scores[split].report() for split in splits}
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

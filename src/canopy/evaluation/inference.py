"""A run's best net, ready to be asked for predictions."""

from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from torch import Tensor

from canopy.prepare.preprocessor import Encoded
from canopy.runs.run import Run
from canopy.training.checkpoint import load_weights
from canopy.training.model import TabularModel
from canopy.training.threads import limit_threads


class Predictor:
    """Gives the predictions of a run's best checkpoint for rows; for `split` see `load_weights`."""

    def __init__(
        self, run: Run, *, batch_size: int, accelerator: str = "auto", split: str | None = None
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"The batch size must be at least 1; found {batch_size}")
        found = torch.accelerator.current_accelerator(check_available=True)
        device = {"auto": found or "cpu", "cpu": "cpu", "gpu": found}.get(accelerator)
        if device is None:
            raise ValueError(
                f"accelerator must be auto or cpu, or gpu where torch can use one; got {accelerator!r}"
            )
        limit_threads()
        self.batch_size = batch_size
        # Before the model: a baseline has neither.
        weights = load_weights(run.best_checkpoint, split=split)
        model: TabularModel = instantiate(run.config.model)(schema=run.schema)
        model.load_state_dict(weights)
        self.model = model.eval().to(device)

    def predict(self, rows: Encoded) -> NDArray[Any]:
        """Give predictions, shape (B, K): probabilities of classes, or numbers in the target's unit."""
        return predict_rows(self.model, *map(torch.from_numpy, rows), batch_size=self.batch_size)


@torch.inference_mode()
def predict_rows(model: TabularModel, *features: Tensor, batch_size: int) -> NDArray[Any]:
    """Give predictions, shape (B, K), from numbers, (B, N), and codes, (B, C)."""
    batches = zip(*(torch.split(part.to(model.device), batch_size) for part in features), strict=True)
    outputs = torch.cat([model(*batch) for batch in batches])
    return np.asarray(model.task.predict(outputs.float()).cpu())

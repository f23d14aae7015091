"""A run's best net, ready to be asked for probabilities."""

from typing import Literal, get_args

import numpy as np
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray

from canopy.prepare.preprocessor import Encoded
from canopy.runs.run import Run
from canopy.training.checkpoint import load_weights
from canopy.training.classifier import Classifier
from canopy.training.threads import limit_threads

Accelerator = Literal["auto", "cpu", "gpu"]


def choose_device(accelerator: Accelerator) -> torch.device:
    """Find the device to compute on: `auto` is the machine's accelerator where there is one."""
    if accelerator not in get_args(Accelerator):
        raise ValueError(f"accelerator must be one of {[*get_args(Accelerator)]}; found {accelerator!r}")
    found = torch.accelerator.current_accelerator(check_available=True)
    if accelerator == "gpu" and found is None:
        raise ValueError("accelerator=gpu needs a GPU that torch can use; found none: leave it out")
    return torch.device("cpu") if found is None or accelerator == "cpu" else found


class Predictor:
    """Give the probabilities that a run's best checkpoint sees for rows.

    Args:
        run: The run.
        batch_size: Rows that go through the net at once.
        accelerator: Device to compute on.
        split: What is predicted; see `load_weights`.

    Raises:
        FileNotFoundError: If the run has no best checkpoint.
        ValueError: If the batch size is below 1, or the device or the checkpoint cannot be used.
    """

    def __init__(
        self, run: Run, *, batch_size: int, accelerator: Accelerator = "auto", split: str | None = None
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"The batch size must be at least 1; found {batch_size}")
        limit_threads()
        self.batch_size = batch_size
        self.device = choose_device(accelerator)
        model: Classifier = instantiate(run.config.model)(schema=run.schema)
        model.load_state_dict(load_weights(run.best_checkpoint, split=split))
        self.model = model.eval().to(self.device)

    def predict(self, rows: Encoded) -> NDArray[np.float32]:
        """Give the probability of each class, shape (B, K)."""
        return predict_rows(self.model, rows, batch_size=self.batch_size)


@torch.inference_mode()
def predict_rows(model: Classifier, rows: Encoded, *, batch_size: int) -> NDArray[np.float32]:
    """Give the probability of each class, shape (B, K), on the device that the model is on."""
    numeric, categorical = (torch.from_numpy(array).to(model.device) for array in rows)
    starts = range(0, len(numeric), batch_size)
    batches = [slice(start, start + batch_size) for start in starts]
    logits = [model(numeric[batch], categorical[batch]) for batch in batches]
    probabilities: NDArray[np.float32] = torch.cat(logits).float().softmax(dim=1).cpu().numpy()
    return probabilities

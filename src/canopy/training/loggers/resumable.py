"""Loggers whose curves have neither a hole nor a duplicate when a run is resumed after a kill.

A killed run has usually logged more than its last checkpoint knows. Trained again, those steps would be
twice: what was logged from the checkpoint's step on is left out first.
"""

import csv
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

from lightning import LightningModule
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn

from canopy.files import atomic_write


class ResumableTensorBoardLogger(TensorBoardLogger):
    """TensorBoard's event files, straight in the run's folder, which names the run.

    Args:
        folder: The run's folder.
        resume_step: Step that a resumed run starts from; None for a new run.
        log_graph: Whether to show the model's `net` as a graph; `example_input_array` is sent through it.
    """

    def __init__(
        self, folder: str | Path, *, resume_step: int | None = None, log_graph: bool = False
    ) -> None:
        # TensorBoard leaves out what earlier event files hold from `purge_step` on.
        options: dict[str, Any] = {} if resume_step is None else {"purge_step": resume_step}
        # A resumed run has its graph.
        log_graph = log_graph and not resume_step
        super().__init__(folder, name="", version="", log_graph=log_graph, default_hp_metric=False, **options)

    @rank_zero_only
    def log_graph(self, model: LightningModule, input_array: Tensor | None = None) -> None:  # type: ignore[override]
        if not self._log_graph:
            return
        # A copy, because a compiled net cannot be traced: copies are not compiled.
        net = deepcopy(model.net)
        assert isinstance(net, nn.Module)
        with warnings.catch_warnings():
            # The trace is only drawn: that it may not hold for other inputs does no harm.
            warnings.simplefilter("ignore")
            self.experiment.add_graph(net.cpu(), model.example_input_array)

    def save(self) -> None:
        """Write what has been logged, which TensorBoard otherwise keeps for two minutes."""
        super().save()
        self.experiment.flush()


class ResumableCSVLogger(CSVLogger):
    """The metrics as `csv/metrics.csv` in the run's folder; options as above."""

    def __init__(self, folder: str | Path, *, resume_step: int | None = None) -> None:
        super().__init__(folder, name="", version="csv")
        if resume_step is not None:
            self._experiment = _ContinuingWriter(self.log_dir, resume_step)


class _ContinuingWriter(ExperimentWriter):
    """Lightning's writer, which keeps the rows that are there."""

    def __init__(self, log_dir: str, resume_step: int) -> None:
        self._resume_step = resume_step
        super().__init__(log_dir)

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            self.metrics_keys = list(reader.fieldnames or [])
            kept = [row for row in reader if row["step"] and int(row["step"]) < self._resume_step]
        with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.metrics_keys)
            writer.writeheader()
            writer.writerows(kept)

"""Loggers whose curves have neither a hole nor a duplicate when a run is resumed after a kill.

What a killed run had logged from its last checkpoint's step on is left out, since it is trained again.
"""

import csv
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

from canopy.files import atomic_write


class ResumableTensorBoardLogger(TensorBoardLogger):
    """TensorBoard's event files, straight in the run's folder, which names the run.

    `resume_step` is the step that a resumed run starts from, None for a new run.
    """

    def __init__(self, folder: str, *, resume_step: int | None = None, log_graph: bool = False) -> None:
        # TensorBoard leaves out what earlier event files hold from `purge_step` on.
        options: dict[str, Any] = {} if resume_step is None else {"purge_step": resume_step}
        # A resumed run has its graph.
        log_graph = log_graph and not resume_step
        super().__init__(folder, name="", version="", log_graph=log_graph, default_hp_metric=False, **options)

    @rank_zero_only
    def log_graph(self, model: Any, input_array: Any = None) -> None:
        if self._log_graph:
            # A copy, because a compiled net cannot be traced: copies are not compiled.
            net = deepcopy(model.net).cpu()
            # The trace is only drawn: that it may not hold for other inputs does no harm.
            with warnings.catch_warnings(action="ignore"):
                self.experiment.add_graph(net, model.example_input_array)


class ResumableCSVLogger(CSVLogger):
    """The metrics as `csv/metrics.csv` in the run's folder; options as above."""

    def __init__(self, folder: str, *, resume_step: int | None = None) -> None:
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

"""Loggers whose curves have neither a gap nor a double when a run goes on after it was killed.

A killed run has usually logged more than its last checkpoint knows. Trained again, those steps would stand
twice: what was logged from the checkpoint's step on is left out first.
"""

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from canopy.files import atomic_write


class ResumableTensorBoardLogger(TensorBoardLogger):
    """TensorBoard's event files, straight in the run's folder, which names the run.

    Args:
        folder: The run's folder.
        resume_step: Step that a resumed run goes on from; None for a new run.
    """

    def __init__(self, folder: str | Path, *, resume_step: int | None = None) -> None:
        # TensorBoard leaves out what earlier event files hold from `purge_step` on.
        options: dict[str, Any] = {} if resume_step is None else {"purge_step": resume_step}
        super().__init__(folder, name="", version="", default_hp_metric=False, **options)

    def save(self) -> None:
        """Write what has been logged, which TensorBoard otherwise keeps for two minutes."""
        super().save()
        self.experiment.flush()


class ResumableCSVLogger(CSVLogger):
    """The metrics as `csv/metrics.csv` in the run's folder.

    Args:
        folder: The run's folder.
        resume_step: Step that a resumed run goes on from; None for a new run.
    """

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

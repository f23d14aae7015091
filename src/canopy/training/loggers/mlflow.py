"""Runs in MLflow."""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only

from canopy.files import read_json, write_json
from canopy.tracking import artifact_location, opening, reason_of, require_extra, set_defaults, store_uri
from canopy.training.loggers.tracker import Tracker, group_of

log = logging.getLogger(__name__)

# Between two attempts to reach a server that has stopped answering.
RETRY_SECONDS = 60.0
# Errors after which the same request may succeed.
TRANSIENT = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
# In the folder of a sweep: the run that those of its trials are nested in.
PARENT_FILE = "mlflow.json"


class TrackedMLFlowLogger(MLFlowLogger, Tracker):
    """A run of MLflow; that of a sweep's trial is nested in one of the sweep.

    A server that does not answer at the start is an error. One that stops answering later is tried again
    every `RETRY_SECONDS`, and then gets what it has missed; training continues meanwhile.

    Args:
        folder: Folder of the run, which names it.
        experiment_name: Experiment of MLflow, which is created if there is none.
        tracking_uri: Address of the server; None for that of `canopy.tracking.store_uri`.
        run_id: Run to continue; None for a new one. Steps that it has are not logged again.
    """

    def __init__(
        self, folder: str, *, experiment_name: str, tracking_uri: str | None = None, run_id: str | None = None
    ) -> None:
        require_extra("mlflow", option="logger=mlflow")
        set_defaults()
        self._folder, self._is_new = Path(folder), run_id is None
        uri = store_uri(tracking_uri)
        location = artifact_location(uri)
        name = self._folder.name
        with opening(uri):
            super().__init__(experiment_name, name, uri, run_id=run_id, artifact_location=location)
        self._parent: str | None = None
        # Last step of each metric before a resume.
        self._last: dict[str, int] = {}
        self._unsent: deque[Callable[[], Any]] = deque()
        self._retry_at = 0.0

    @rank_zero_only
    def start(self, tags: Mapping[str, str]) -> None:
        from mlflow.exceptions import MlflowException

        try:
            client = self._open()
            if (group := group_of(self._folder)) is not None:
                self._parent = self._parent_run(group)
                client.update_run(self._parent, status="RUNNING")
            if not self._is_new:
                client.update_run(self.run_id, status="RUNNING")
                for name in client.get_run(self.run_id).data.metrics:
                    history = client.get_metric_history(self.run_id, name)
                    self._last[name] = max(metric.step for metric in history)
                return
            parent = {"mlflow.parentRunId": self._parent} if self._parent else {}
            for key, value in {**tags, **parent}.items():
                client.set_tag(self.run_id, key, value)
        except (MlflowException, OSError) as error:
            raise ConnectionError(
                f"logger=mlflow needs a server that answers at {self._tracking_uri}; got "
                f"{reason_of(error)}: start it, or leave the logger out"
            ) from error

    def _open(self) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self.experiment
        except MlflowException as error:
            # Another process of the same sweep was faster to create the experiment.
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return self.experiment

    def _parent_run(self, group: Path) -> str:
        """Give the id of the run that stands for a sweep, which the first of its runs creates."""
        path = group / PARENT_FILE
        with FileLock(f"{path}.lock"):
            if not path.is_file():
                tags = {"mlflow.runName": group.name}
                if (above := group_of(group)) is not None:
                    tags["mlflow.parentRunId"] = self._parent_run(above)
                created = self.experiment.create_run(self.experiment_id, tags=tags)
                write_json(path, {"run_id": created.info.run_id})
        return str(read_json(path)["run_id"])

    @rank_zero_only
    def log_config(self, config: Mapping[str, Any], hyperparameters: Mapping[str, Any]) -> None:
        # MLflow refuses to change them, as a resume may.
        if not self._last:
            self._send(partial(super().log_hyperparams, dict(hyperparameters)))
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        self._send(lambda: self.experiment.log_text(self.run_id, text, "config.yaml"))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        new = {name: value for name, value in metrics.items() if (step or 0) > self._last.get(name, -1)}
        if new:
            self._send(partial(super().log_metrics, new, step))

    @rank_zero_only
    def log_plot(self, name: str, path: Path, step: int) -> None:
        self._send(lambda: self.experiment.log_artifact(self.run_id, str(path), "plots"))

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        self._retry_at = min(self._retry_at, time.monotonic())
        self._send(partial(super().finalize, status))
        if (parent := self._parent) is not None:
            self._send(lambda: self.experiment.set_terminated(parent))
        if self._unsent:
            log.warning("MLflow lacks the last %d messages of the run: it did not answer", len(self._unsent))

    def _send(self, call: Callable[[], Any]) -> None:
        """Do a call, and those before it that failed since the server was away; or keep it for later."""
        from mlflow.exceptions import MlflowException

        self._unsent.append(call)
        if time.monotonic() < self._retry_at:
            return
        try:
            while self._unsent:
                try:
                    self._unsent[0]()
                except MlflowException as error:
                    if error.error_code in TRANSIENT:
                        raise
                    log.warning("MLflow refused a message of the run: %s", reason_of(error))
                self._unsent.popleft()
        except (MlflowException, OSError) as error:
            if not self._retry_at:
                text = "MLflow does not answer: training continues, and MLflow gets later what it misses (%s)"
                log.warning(text, reason_of(error))
            self._retry_at = time.monotonic() + RETRY_SECONDS
        else:
            if self._retry_at:
                log.info("MLflow answers again, and has got what it missed")
            self._retry_at = 0.0

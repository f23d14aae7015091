"""Bundles in MLflow's model registry: registered by `name@alias`, opened as `models:/name@alias`."""

import atexit
import logging
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from canopy.export.manifest import MANIFEST_FILE, Manifest
from canopy.tracking import artifact_location, reason_of, require_extra, set_defaults, store_uri

log = logging.getLogger(__name__)

PREFIX = "models:/"
# In a run: where the bundle is.
ARTIFACT = "bundle"
# Of the run that a bundle is registered with if its training run is not on the server.
EXPERIMENT = "canopy"
# What a model needs to predict elsewhere, next to this package.
PACKAGES = ("mlflow-skinny", "numpy", "onnxruntime", "pandas", "pyarrow")


class Registry:
    """The registry that `MLFLOW_TRACKING_URI` names, or that of the local database.

    Args:
        target: Name of the model with the alias of the new version, such as `wine@champion`; or the name.

    Raises:
        ConnectionError: If the server does not answer, or refuses.
    """

    def __init__(self, target: str) -> None:
        if not re.fullmatch(r"[^/:.@%\"']+(@[\w-]+)?", target):
            raise ValueError(f"register must be NAME@ALIAS or NAME, such as wine@champion; got {target!r}")
        self.name, _, self.alias = target.partition("@")
        with answering():
            from mlflow import MlflowClient

            self._client = MlflowClient(store_uri(), store_uri())
            # Here, so that a server that is away is reported before the export.
            self._client.search_registered_models(max_results=1)

    def register(self, folder: Path, record: Mapping[str, Any]) -> int:
        """Register a bundle of a run with that record as the next version of the model; give its number."""
        with answering(), tempfile.TemporaryDirectory() as temporary:
            place, manifest = Path(temporary, ARTIFACT), Manifest.load(folder)
            save_model(folder, place, manifest)
            run_id = self._tracked_run(record) or self._new_run(manifest)
            self._client.log_artifacts(run_id, str(place), ARTIFACT)
            if not self._client.search_registered_models(f"name = '{self.name}'"):
                self._client.create_registered_model(self.name)
            source = f"{self._client.get_run(run_id).info.artifact_uri}/{ARTIFACT}"
            made = self._client.create_model_version(self.name, source, run_id)
            if self.alias:
                self._client.set_registered_model_alias(self.name, self.alias, made.version)
        uri = f"{PREFIX}{self.name}" + (f"@{self.alias}" if self.alias else f"/{made.version}")
        log.info("Registered version %s of the model %s: bundle=%s", made.version, self.name, uri)
        return int(made.version)

    def _tracked_run(self, record: Mapping[str, Any]) -> str | None:
        """Find the run of MLflow that a training run was logged to, if it is on this server."""
        from mlflow.exceptions import MlflowException

        found = [item["run_id"] for item in record.get("trackers", {}).values() if "run_id" in item]
        for run_id in found:
            try:
                return str(self._client.get_run(run_id).info.run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        return None

    def _new_run(self, manifest: Manifest) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        location = artifact_location(store_uri())
        number = found.experiment_id if found else self._client.create_experiment(EXPERIMENT, location)
        run = self._client.create_run(number, run_name=str(manifest.run["id"]))
        self._client.set_terminated(run.info.run_id)
        return str(run.info.run_id)


def save_model(folder: Path, place: Path, manifest: Manifest) -> None:
    """Write a bundle as a model of MLflow, which `canopy.export.pyfunc` opens."""
    # MLflow warns of its own type hints, and of a model without an example of its input.
    with warnings.catch_warnings(action="ignore"):
        from mlflow import pyfunc

        pyfunc.save_model(
            place,
            loader_module="canopy.export.pyfunc",
            data_path=str(folder),
            signature=signature_of(manifest),
            pip_requirements=[f"{name}=={version(name)}" for name in PACKAGES],
            metadata={"canopy": manifest.versions["canopy"], "run": manifest.run["id"]},
        )


def signature_of(manifest: Manifest) -> Any:
    """Describe the columns of raw rows and of predictions to MLflow."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    rows = manifest.preprocessor.restrict(manifest.table)
    kinds = dict.fromkeys(rows.numeric, "double") | dict.fromkeys(rows.datetime, "string")
    for name, column in rows.categorical.items():
        kinds |= dict.fromkeys(rows.file_columns(name), "long" if column.one_hot else "string")
    answers = manifest.answers().schema([])
    types = {field.name: "double" if pa.types.is_floating(field.type) else "string" for field in answers}
    inputs, outputs = (
        Schema([ColSpec(kind, name) for name, kind in found.items()]) for found in (kinds, types)
    )
    return ModelSignature(inputs, outputs)


def local_bundle(bundle: str, folder: Path | None = None) -> str:
    """Give the folder of a bundle; one of the registry is downloaded, to `folder`, until the process ends."""
    if not bundle.startswith(PREFIX):
        return bundle
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="canopy-"))
    else:
        # From a process that was killed.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with answering(f"{bundle} must be a model of the registry"):
        import mlflow

        # Of a model, MLflow asks the server of the process alone.
        mlflow.set_tracking_uri(store_uri())
        mlflow.artifacts.download_artifacts(artifact_uri=bundle, dst_path=str(folder))
    places = [path.parent for path in folder.rglob(MANIFEST_FILE)]
    if len(places) != 1:
        raise ValueError(f"{bundle} must be a model that src/export.py registered; got one without a bundle")
    return str(places[0])


@contextmanager
def answering(requirement: str = "MLflow must answer") -> Iterator[None]:
    """Turn what MLflow reports about a request into an error that names the server."""
    require_extra("mlflow", option="The model registry")
    set_defaults()
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        hint = "MLFLOW_TRACKING_URI names another server"
        raise ConnectionError(f"{requirement} at {store_uri()}; got {reason_of(error)}: {hint}") from error

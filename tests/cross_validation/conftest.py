"""Folds of the small table, prepared and with made-up predictions."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import DictConfig, OmegaConf, open_dict

from canopy.compare.comparison import PREDICTIONS
from canopy.cross_validation.folds import choose_home, fold_params, prepare_fold, prepare_table
from canopy.cross_validation.results import write_results
from canopy.data.dataset import load_rows
from canopy.files import write_json
from canopy.runs.run import CONFIG, METRICS, RECORD, Run
from canopy.runs.run_folder import start_run_folder
from canopy.schema.tensors import SCHEMA_FILE, Schema


@pytest.fixture
def prepared(small_params: DictConfig, raw_table: Path) -> Callable[..., tuple[Path, list[DictConfig]]]:
    """Prepare the folds of a split of the small table: gives their folder and their `params.yaml`."""

    def prepare(n_folds: int = 3, **split: object) -> tuple[Path, list[DictConfig]]:
        small_params.split.update(n_folds=n_folds, **split)
        home = choose_home(small_params)
        prepare_table(small_params, home)
        folds = [fold_params(small_params, home, fold) for fold in range(n_folds)]
        for params in folds:
            prepare_fold(params)
        return home, folds

    return prepare


@pytest.fixture
def made_up(train_config: DictConfig, trusted_targets: None) -> Callable[..., list[Run]]:
    """Write the results of a cross-validation that predicts the right class with a share of the rows."""

    def make(folder: Path, folds: list[DictConfig], *, right: float, seed: int = 0) -> list[Run]:
        random, runs = np.random.default_rng(seed), []
        for number, params in enumerate(folds):
            path, config = folder / f"fold_{number}", train_config.copy()
            with open_dict(config):
                config.pipeline = params
            data = Path(params.paths.processed)
            start_run_folder(path, config, data)
            schema = Schema.load(data / SCHEMA_FILE)
            labels = load_rows(data, "test", schema).rows.labels.numpy()
            predicted = np.where(random.random(len(labels)) < right, labels, (labels + 1) % 3)
            probabilities = np.full((len(labels), 3), 0.1, np.float32)
            probabilities[np.arange(len(labels)), predicted] = 0.8
            columns = {"label": labels, "predicted": predicted}
            columns |= {f"probability_{k}": column for k, column in enumerate(probabilities.T.copy())}
            (path / PREDICTIONS).parent.mkdir()
            pq.write_table(pa.table(columns), path / PREDICTIONS.format(split="test"))
            found = {"accuracy": float((predicted == labels).mean()), "calibrated": {"temperature": 2.0}}
            found["nll"] = float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())
            found |= {"n_rows": len(labels), "per_class": {"Apple": {"recall": right, "support": 1}}}
            write_json(path / METRICS, {"test": found})
            record = {"status": "finished", "commands": [], "best": {"score": right}, "data": schema.sha256}
            record["process"] = {"host": "elsewhere", "pid": 1}
            write_json(path / RECORD, record)
            assert OmegaConf.load(path / CONFIG).pipeline.split.fold == number
            runs.append(Run(path))
        write_results(folder, runs)
        return runs

    return make

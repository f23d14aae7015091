"""What several tests share: the project's folders, a small table and small tensors."""

import dataclasses
import gzip
import os
import shutil
import signal
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hydra.utils import execution_whitelist
from omegaconf import DictConfig, OmegaConf, open_dict

from canopy.data.dataset import Batch
from canopy.files import PREPROCESSOR_FILE, SPLITS, sha256
from canopy.params import mount_params
from canopy.prepare import cap_classes, drop_columns, make_tensors, normalize, split
from canopy.prepare.interim import table_schema
from canopy.preset import Size, register_rules
from canopy.runs.entry import TRUSTED_TARGETS
from canopy.runs.run import METRICS, Run
from canopy.schema import TableSchema
from canopy.schema.tensors import SCHEMA_FILE, CategoricalFeature, Schema, shard_name
from canopy.tables.writer import header_line
from canopy.tensors import save_tensors
from packages import ROOT, composed

QUIET = ("trainer=cpu", "trainer.enable_progress_bar=false", "callbacks.progress_bar=null")

# A new project of DVC would tell its makers of each command.
os.environ["DVC_NO_ANALYTICS"] = "true"
# What `make test` was given is not for the makes that tests run.
for name in ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "ARGS"):
    os.environ.pop(name, None)
# The programs of tests are to end by Ctrl-C, which shells let those in the background ignore.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Tables and help are as wide as the terminal.
os.environ["COLUMNS"] = "120"


@pytest.fixture(scope="session", autouse=True)
def _mounted_params() -> None:
    mount_params(ROOT)


@pytest.fixture
def rule_for_5000_rows() -> Iterator[None]:
    """Let presets choose without the pipeline's tensors."""
    register_rules(lambda _: Size(5000, 10))
    yield
    register_rules()


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def copy_project() -> Callable[..., None]:
    """Copy files and folders of the project, not what runs made: `copy_project(folder, "src")`."""
    made = ("__pycache__", "*.egg-info")
    of_runs = ("__pycache__", "data", "logs", "models", "reports", "dvc.lock")

    def copy(folder: Path, *names: str) -> None:
        for name in names:
            source, target = ROOT / name, folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                ignored = shutil.ignore_patterns(*(of_runs if name == "datasets" else made))
                shutil.copytree(source, target, symlinks=True, ignore=ignored)
            else:
                shutil.copyfile(source, target)

    return copy


@pytest.fixture(scope="session")
def params() -> DictConfig:
    return cast(DictConfig, OmegaConf.load(ROOT / "params.yaml"))


@pytest.fixture(scope="session")
def sample_csv(params: DictConfig) -> str:
    """The committed sample of the real table, with its header line."""
    with zipfile.ZipFile(ROOT / "tests/data/covertype.zip") as archive:
        body = gzip.decompress(archive.read("covtype.data.gz")).decode()
    return header_line(table_schema(params).all_file_columns) + body


@pytest.fixture
def small_params(tmp_path: Path) -> DictConfig:
    """Parameters of a table with two numeric columns, one group of three and three classes."""
    params = OmegaConf.create(
        """
        seed: 0
        paths: {models: models, raw: raw.csv, interim: interim, processed: processed, reports: reports}
        table:
          title: Fruit
          about: Fruit by weight.
          target: {column: kind, meaning: Kind of fruit, classes: {1: Apple, 2: Pear, 3: Plum}}
          columns:
            weight: {kind: numeric, unit: g, meaning: Weight}
            size: {kind: numeric, unit: cm, meaning: Diameter}
            colour: {kind: categorical, one_hot: {colour1: red, colour2: green, colour3: blue}, meaning: Hue}
        drop_columns: {columns: []}
        split:
          {method: stratified, test_size: 0.2, val_size: 0.2, column: null, values: null, gap: null,
           n_folds: null, fold: 0}
        normalize: {methods: [{columns: ["*"], method: z_score}], target: z_score}
        cap_classes: {max_per_class: 10}
        make_tensors: {shard_mib: 256, shuffle: false}
        """
    )
    params.paths = {**{name: str(tmp_path / path) for name, path in params.paths.items()}, "format": "csv"}
    return cast(DictConfig, params)


@pytest.fixture
def small_schema(small_params: DictConfig) -> TableSchema:
    return table_schema(small_params)


@pytest.fixture
def tensors(tmp_path: Path) -> Path:
    """A folder of tensors: two numeric features, one of three categories, three classes."""
    folder, generator, counts = tmp_path / "processed", torch.Generator().manual_seed(0), {}
    folder.mkdir()
    (folder / PREPROCESSOR_FILE).write_text("{}")
    hashes = {PREPROCESSOR_FILE: sha256(folder / PREPROCESSOR_FILE)}
    for name, n_rows in zip(SPLITS, (300, 60, 90), strict=True):
        labels = torch.arange(n_rows) % 3
        numeric = torch.randn(n_rows, 2, generator=generator) + labels[:, None]
        colours = torch.randint(3, (n_rows, 1), generator=generator).to(torch.uint8)
        shard = shard_name(name, 0)
        save_tensors(Batch(numeric, colours, labels)._asdict(), folder / shard)
        hashes[shard] = sha256(folder / shard)
        counts[name] = (n_rows // 3,) * 3
    schema = Schema(
        target="kind",
        class_values=(1, 2, 3),
        class_names=("Apple", "Pear", "Plum"),
        numeric=("a", "b"),
        quantiles=(tuple(torch.linspace(-3, 5, 129).tolist()),) * 2,
        categorical=(CategoricalFeature(name="colour", categories=("red", "green", "blue")),),
        class_counts={**counts, "train_before_cap": (200, 100, 100)},
        shards={name: (sum(counts[name]),) for name in SPLITS},
        sha256=hashes,
    )
    schema.save(folder / SCHEMA_FILE)
    return folder


@pytest.fixture
def replace_rows() -> Callable[..., None]:
    """Give a split of the small tensors shards with so many rows; the first feature is the row's number."""

    def replace(folder: Path, split: str, *sizes: int) -> None:
        schema, hashes = Schema.load(folder / SCHEMA_FILE), {}
        for index, numbers in enumerate(torch.arange(sum(sizes)).split([*sizes])):
            numeric = torch.stack([numbers.float(), torch.zeros(len(numbers))], dim=1)
            rows = Batch(numeric, (numbers[:, None] % 2).to(torch.uint8), numbers % 3)
            shard = shard_name(split, index)
            save_tensors(rows._asdict(), folder / shard)
            hashes[shard] = sha256(folder / shard)
        shards = {**schema.shards, split: sizes}
        dataclasses.replace(schema, sha256={**schema.sha256, **hashes}, shards=shards).save(
            folder / SCHEMA_FILE
        )

    return replace


@pytest.fixture
def train_config(tensors: Path, tmp_path: Path) -> DictConfig:
    """The default training config, over small tensors, for two epochs on the CPU."""
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    quick = ("trainer.max_epochs=2", "trainer.log_every_n_steps=5", "data.batch_size=32")
    paths = (f"pipeline.paths.processed={tensors}", f"run_folder={run_folder}")
    return composed("train", *QUIET, *quick, "model.net.hidden=[16]", *paths)


@pytest.fixture
def trusted_targets() -> Iterator[None]:
    with execution_whitelist(TRUSTED_TARGETS):
        yield


@pytest.fixture
def raw_table(small_params: DictConfig) -> Path:
    """A raw table with its columns in another order than that of the description."""
    random = np.random.default_rng(0)
    path = Path(small_params.paths.raw)
    lines = ["size,colour1,colour2,colour3,weight,kind"]
    for index in range(300):
        colour = np.eye(3, dtype=int)[random.integers(3)]
        kind = index % 3 + 1
        weight = round(random.normal(kind * 100, 30), 3)
        lines.append(",".join(map(str, [random.integers(5, 20) * kind, *colour, weight, kind])))
    path.write_text("\n".join([*lines, ""]))
    return path


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test of a module leaves the files of its run for the others."""
    return tmp_path_factory.mktemp("finished_run")


@pytest.fixture
def trained_run(small_params: DictConfig, tmp_path: Path, finished_run: Path, request: Any) -> Run:
    """A run on that table, one of its columns dropped, after one epoch."""
    request.getfixturevalue("raw_table")
    small_params.drop_columns.columns = ["colour2"]
    small_params.cap_classes.max_per_class = 50
    small_params.normalize.methods.insert(0, {"columns": ["size"], "method": "quantile_normal"})
    if any(finished_run.iterdir()):
        shutil.copytree(finished_run, tmp_path, dirs_exist_ok=True)
        return Run(tmp_path / "run")
    train_config: DictConfig = request.getfixturevalue("train_config")
    # The stages put their tensors where the config expects some.
    for stage in (drop_columns, split, normalize, cap_classes, make_tensors):
        stage.run(small_params)
    with open_dict(train_config):
        train_config.pipeline = small_params
    train_config.trainer.max_epochs = 1
    # Here, since it imports Lightning.
    from canopy.runs.fit import fit

    fit(train_config)
    shutil.copytree(tmp_path, finished_run, dirs_exist_ok=True)
    return Run(train_config.run_folder)


@pytest.fixture
def evaluated_run(trained_run: Run) -> Run:
    if not (trained_run.path / METRICS).is_file():
        # Here, since it imports Lightning.
        from canopy.evaluation.evaluate import evaluate

        folders = (f"run={trained_run.path}", f"run_folder={trained_run.path}")
        evaluate(trained_run, composed("evaluate", *QUIET, *folders))
    return trained_run


@pytest.fixture
def export_run(evaluated_run: Run, tmp_path: Path) -> Callable[..., Path]:
    # Here, since it imports torch's exporters.
    from canopy.export.export import export

    def call(**options: object) -> Path:
        given = {"run": evaluated_run.path, "output": tmp_path / "bundle", **options}
        export(evaluated_run, composed("export", *(f"{key}={value}" for key, value in given.items())))
        return tmp_path / "bundle"

    return call

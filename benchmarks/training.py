"""Rows per second of training: a default run with all it has on, a Trainer with all off, and a bare loop.

All three train the same net with the same optimiser, schedule and batch size on the same rows; validation is
left out of the time of each.

python benchmarks/training.py
"""

import contextlib
import io
import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from common import ROOT, median, parse, take_turns, write
from hydra import compose, initialize_config_dir
from hydra.utils import execution_whitelist, instantiate
from lightning import Trainer
from omegaconf import DictConfig

from canopy.data.datamodule import TensorDataModule
from canopy.files import read_json
from canopy.params import mount_params
from canopy.runs.entry import TRUSTED_TARGETS
from canopy.runs.fit import fit
from canopy.schema.tensors import SCHEMA_FILE, Schema
from canopy.training.model import TabularModel

# From one that costs nothing to one that is larger than the default.
NETS = {
    "mlp 2x64": ["model=mlp", "model.net.hidden=[64,64]"],
    "mlp 3x256": ["model=mlp", "model.net.hidden=[256,256,256]"],
    "mlp_periodic 3x256 (default)": [],
    "mlp_periodic 3x512": ["model.net.hidden=[512,512,512]"],
}
# Of an epoch: nearly a whole one.
N_STEPS = 160
# Of one measurement. An epoch of the smallest net takes half a second, less than a run's beginning and end.
N_EPOCHS = {"mlp 2x64": 9}
# Of a few seconds each, in which a busy machine hits one contender more than another.
N_REPEATS = {"mlp 2x64": 11}


def main() -> None:
    arguments = parse(__doc__)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    mount_params(ROOT)
    results = []
    with execution_whitelist(TRUSTED_TARGETS):
        for name, overrides in NETS.items():
            cfg = config(
                overrides,
                n_steps=N_STEPS // 10 if arguments.quick else N_STEPS,
                n_epochs=N_EPOCHS.get(name, 1),
            )
            found = take_turns(
                {
                    "bare loop": lambda: bare(cfg),  # noqa: B023 - called within the loop
                    "Trainer, all off": lambda: all_off(cfg),  # noqa: B023
                    "canopy": lambda: canopy(cfg),  # noqa: B023
                },
                n_repeats=2 if arguments.quick else N_REPEATS.get(name, 5),
            )
            speed = {contender: median(speeds) for contender, speeds in found.items()}
            results.append(
                {
                    "net": name,
                    **{f"{contender} rows/s": value for contender, value in speed.items()},
                    # Of neighbours in time, so that the machine's other work hits both.
                    "canopy/bare loop": ratio(found["canopy"], found["bare loop"]),
                    "canopy/Trainer, all off": ratio(found["canopy"], found["Trainer, all off"]),
                }
            )
    write("training", results, arguments, batch_size=cfg.data.batch_size)


def ratio(ours: list[float], theirs: list[float]) -> float:
    return round(median([a / b for a, b in zip(ours, theirs, strict=True)]), 3)


def config(overrides: list[str], *, n_steps: int, n_epochs: int) -> DictConfig:
    with initialize_config_dir(str(ROOT / "configs"), job_name="train"):
        cfg: DictConfig = compose(
            "train",
            [
                "trainer=cpu",
                f"trainer.max_epochs={n_epochs}",
                f"trainer.limit_train_batches={n_steps}",
                "trainer.limit_val_batches=1",
                "run_folder=???",
                *overrides,
            ],
        )
    return cfg


@contextlib.contextmanager
def run_folder(cfg: DictConfig) -> Iterator[DictConfig]:
    folder = Path(tempfile.mkdtemp())
    own = cfg.copy()
    own.run_folder = str(folder)
    try:
        yield own
    finally:
        shutil.rmtree(folder)


class Terminal(io.TextIOWrapper):
    """A terminal without a reader: the progress bar is drawn."""

    def isatty(self) -> bool:
        return True


def canopy(cfg: DictConfig) -> float:
    """Train as `python src/train.py` does on a terminal."""
    with run_folder(cfg) as own, Terminal(Path(os.devnull).open("wb")) as terminal:
        with contextlib.redirect_stdout(terminal):
            fit(own)
        record: dict[str, Any] = read_json(Path(own.run_folder) / "run.json")
    n_rows_of_epoch = cfg.trainer.limit_train_batches * cfg.data.batch_size
    schema = Schema.load(Path(cfg.data.folder) / SCHEMA_FILE)
    assert n_rows_of_epoch <= sum(schema.class_counts["train"]), "an epoch at most"
    return float(cfg.trainer.max_epochs * n_rows_of_epoch / record["seconds"]["training"])


def built(cfg: DictConfig) -> tuple[TabularModel, TensorDataModule]:
    data: TensorDataModule = instantiate(cfg.data)
    torch.manual_seed(cfg.seed)
    model: TabularModel = instantiate(cfg.model)(schema=data.schema)
    return model, data


def all_off(cfg: DictConfig) -> float:
    """Train with Lightning's Trainer alone."""
    model, data = built(cfg)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=cfg.trainer.max_epochs,
        limit_train_batches=cfg.trainer.limit_train_batches,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        log_every_n_steps=10**9,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, datamodule=data)
    return model.n_rows_trained / model.train_seconds


def bare(cfg: DictConfig) -> float:
    """Train with one's own loop."""
    model, data = built(cfg)
    data.setup("fit")
    rows = data._rows["train"].rows  # noqa: SLF001 - what no loader wraps
    n_steps, size, n_epochs = cfg.trainer.limit_train_batches, cfg.data.batch_size, cfg.trainer.max_epochs
    net, prior = model.net, model.log_prior_ratio
    hidden = net.hidden_weights()  # type: ignore[operator]
    optimizer = instantiate(cfg.model.optimizer)(net.parameters(), hidden=hidden)
    scheduler = instantiate(cfg.model.scheduler)(optimizer, total_steps=n_epochs * n_steps)
    started = time.perf_counter()
    n_rows = 0
    for _ in range(n_epochs):
        order = torch.randperm(len(rows.labels))
        for step in range(n_steps):
            index = order[step * size : (step + 1) * size]
            numeric, categorical, labels = (tensor.index_select(0, index) for tensor in rows[:3])
            loss = F.cross_entropy(net(numeric, categorical.long()) + prior, labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            scheduler.step()
            n_rows += len(labels)
    return n_rows / (time.perf_counter() - started)


if __name__ == "__main__":
    main()

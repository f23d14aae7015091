from datetime import timedelta
from typing import Any

import pytest
from omegaconf import DictConfig

from canopy.runs.fit import fit
from canopy.runs.run import Run
from canopy.training.callbacks.best_checkpoint import BestCheckpoint


@pytest.mark.usefixtures("trusted_targets")
def test_the_metrics_are_those_of_the_best_epoch(train_config: DictConfig) -> None:
    """An epoch that undoes the others comes last, with a rate 100 times as high."""
    train_config.model.optimizer.lr = 0.05
    train_config.model.scheduler = {
        "_partial_": True,
        "_target_": "torch.optim.lr_scheduler.StepLR",
        "step_size": 10,  # one epoch
        "gamma": 100,
    }
    fit(train_config)
    run = Run(train_config.run_folder)
    best = run.record["best"]
    rows = (run.path / "csv/metrics.csv").read_text().splitlines()
    names = rows[0].split(",")
    logged = [dict(zip(names, row.split(","), strict=True)) for row in rows[1:]]
    first, last = (row for row in logged if row["val/accuracy"])
    assert float(first["val/accuracy"]) > float(last["val/accuracy"])
    assert best["score"] == best["metrics"]["val/accuracy"]
    assert set(best["metrics"]) == {name for name in names if name.startswith("val/")}
    for name, value in best["metrics"].items():
        assert value == pytest.approx(float(first[name])), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "monitor must name the metric that chooses, such as .*; got None"),
        ({"every_n_train_steps": 5}, "every_n_train_steps must be None: the epoch of .*; got 5"),
        ({"train_time_interval": timedelta(hours=1)}, "train_time_interval must be None: .*; got 1:00:00"),
        ({"save_top_k": 3}, "save_top_k must be 1: "),
        ({"save_last": True}, "save_last must be None: "),
        ({"save_on_train_epoch_end": True}, "save_on_train_epoch_end must be False: "),
    ],
)
def test_options_that_keep_something_else_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BestCheckpoint(**options)

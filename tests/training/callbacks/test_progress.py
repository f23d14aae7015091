import logging
import re
import sys

import pytest
from omegaconf import DictConfig

from canopy.training.callbacks.progress import TerminalProgressBar
from canopy.training.fit import prepare

pytestmark = pytest.mark.usefixtures("trusted_targets")


def test_each_epoch_is_a_line_in_the_log(train_config: DictConfig, caplog: pytest.LogCaptureFixture) -> None:
    train_config.callbacks.epoch_log.metrics += ["val/absent"]
    with caplog.at_level(logging.INFO, logger="canopy"):
        run = prepare(train_config)
        run.trainer.fit(run.model, datamodule=run.data)
    lines = [record.getMessage() for record in caplog.records if "Epoch" in record.getMessage()]
    assert len(lines) == 2
    expected = (
        r"Epoch 2 of 2 in \d+\.\d s: train/loss \d\.\d{4}, val/nll .*, val/accuracy .*, val/macro_f1 .*"
    )
    assert re.fullmatch(expected, lines[1])
    assert "absent" not in lines[1]


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_is_for_terminals(
    train_config: DictConfig, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    bar = TerminalProgressBar()
    run = prepare(train_config)
    bar.setup(run.trainer, run.model, "fit")
    assert bar.is_enabled == terminal

import json
import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from canopy.runs.run import Run


@pytest.mark.slow
@pytest.mark.skipif(find_spec("trackio") is None, reason='pip install --editable ".[trackio]"')
def test_a_killed_run_continues_in_its_tracked_run(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    command.kill_and_resume("logger=[default,trackio]", "seed=7")
    run = Run(command.folder)
    with closing(sqlite3.connect(tmp_path / "store/canopy.db")) as database:
        logged = database.execute("select run_name, step, metrics from metrics").fetchall()
        ((config,),) = database.execute("select config from configs").fetchall()
    config = json.loads(config)
    assert config["seed"] == 7
    assert config["tags"]["run_folder"] == str(command.folder)
    assert {name for name, *_ in logged} == {run.record["trackers"]["logger.trackio"]["id"]}
    values = [(step, json.loads(metrics)) for _, step, metrics in logged]
    steps = {step for step, metrics in values if "val/nll" in metrics}
    assert steps == {38 * epoch + 37 for epoch in range(12)}
    scores = [metrics["best/accuracy"] for _, metrics in values if "best/accuracy" in metrics]
    assert scores == [run.record["best"]["score"]]
    assert [*(tmp_path / "store/media").rglob("*.png")]

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from canopy.export.compress.compress import compress
from canopy.runs.run import Run


@pytest.fixture
def compress_run(
    export_run: Callable[..., Path],
    evaluated_run: Run,
    small_params: DictConfig,
    root: Path,
    tmp_path: Path,
) -> Callable[..., dict[str, Any]]:
    """Compress the small run; gives the report."""
    bundle = export_run()

    def call(**options: object) -> dict[str, Any]:
        changes = {
            "run": evaluated_run.path,
            "bundle": bundle,
            "output": tmp_path / "compressed",
            "report": tmp_path / "compression.json",
            "plot": tmp_path / "compression.png",
            "run_folder": tmp_path,
            "distil.net.hidden": "[8]",
            "distil.epochs": 1,
            "prune.epochs": 1,
            "compress.max_accuracy_drop": 1,
            "compress.max_nll_increase": 100,
            **options,
        }
        with initialize_config_dir(str(root / "configs"), job_name="compress"):
            cfg = compose("compress", [f"{key}={value}" for key, value in changes.items()])
        return compress(evaluated_run, cfg)

    return call

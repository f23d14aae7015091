"""End a run: its report, the copies that were asked for, what is logged of it."""

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from canopy.files import write_json
from canopy.places import check_place, check_writable, display_path
from canopy.runs.run import RECORD, REPORT
from canopy.runs.run_folder import publish

log = logging.getLogger(__name__)


def check_copies(cfg: DictConfig) -> None:
    """Refuse copies of a run that would replace something else.

    Raises:
        ValueError: If one would.
    """
    if cfg.publish.run is not None:
        check_place(cfg.publish.run, option="publish.run", marker=RECORD, reads=(cfg.run_folder,))
    if cfg.publish.report is not None:
        check_writable(cfg.publish.report, option="publish.report")


def finish(cfg: DictConfig, record: dict[str, Any]) -> None:
    """Write the report of a run that has ended, and the copies that were asked for; log how it ended.

    The run's record says that this is done; after a kill before that, the next command does it again.
    """
    folder, report, best = Path(cfg.run_folder), record["training"], record["best"]
    write_json(folder / REPORT, report)
    if cfg.publish.report is not None:
        write_json(cfg.publish.report, report)
    if cfg.publish.run is not None:
        publish(folder, Path(cfg.publish.run))
    if record.pop("published", None) is not None:
        write_json(folder / RECORD, record)
    log.info(
        "Trained %d epochs in %.0f s; best %s %.4f: %s",
        report["epochs"],
        report["train_seconds"],
        best["monitor"],
        best["score"],
        display_path(folder / best["path"]),
    )
    for name, found in report.get("members", {}).items():
        log.info(
            "  %s: weight %.2f, log loss %.4f alone, its gain in the mean %.4f%s",
            name,
            found["weight"],
            found["nll"],
            found["gain"],
            f", of epoch {found['epoch']}" if "epoch" in found else "",
        )

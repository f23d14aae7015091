"""Stage `drop_columns`: leave out the columns that training shall not see."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from canopy.files import read_json
from canopy.table.csv import write_table
from canopy.table.kept import kept_table
from canopy.table.raw import read_raw_table
from canopy.table.spec import TableSpec

log = logging.getLogger(__name__)


def run(params: DictConfig) -> None:
    """Write the raw table without the dropped columns."""
    raw, kept = TableSpec.from_config(params.table), kept_table(params)
    dropped = [name for name in raw.columns if name not in kept.columns]
    log.info(
        "Dropping %d of %d columns: %s",
        len(dropped),
        len(raw.columns),
        ", ".join(dropped) or "none",
    )
    _compare_with_exploration(dropped, Path(params.paths.reports) / "exploration" / "findings.json")
    table = read_raw_table(params.paths.raw, raw)
    write_table(
        table.select(kept.columns),
        Path(params.paths.interim) / "drop_columns.csv",
        description="drop_columns",
    )


def _compare_with_exploration(dropped: list[str], findings: Path) -> None:
    if not findings.is_file():
        log.info("There is no %s to compare the dropped columns with", findings)
        return
    suggested = {item["column"]: item["reason"] for item in read_json(findings)["suggested_drops"]}
    for name in suggested.keys() - dropped:
        log.warning("The exploration suggests dropping %s as well: %s", name, suggested[name])
    for name in set(dropped) - suggested.keys():
        log.warning("The exploration does not suggest dropping %s; it is dropped all the same", name)

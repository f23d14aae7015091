"""Stage `explore`: find out what the raw table holds, and show it on a page."""

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from tqdm import tqdm

from canopy.explore.classes import class_codes
from canopy.explore.densities import class_densities
from canopy.explore.exploration import Exploration
from canopy.explore.findings import SECTIONS, find
from canopy.explore.page import render_page
from canopy.files import write_json, write_text
from canopy.table.raw import read_raw_columns

log = logging.getLogger(__name__)


def run(params: DictConfig) -> None:
    """Write the findings about the raw table as JSON and as a page."""
    exploration = Exploration.from_config(params)
    spec = exploration.spec
    folder = Path(params.paths.reports) / "exploration"
    frame = read_raw_columns(params.paths.raw, spec).to_pandas()
    found: dict[str, Any] = {}
    densities = {}
    n_steps = len(SECTIONS) + len(spec.numeric)
    with tqdm(total=n_steps, desc="explore", unit=" steps", disable=None) as bar:
        for section, content in find(frame, exploration):
            found[section] = content
            bar.update()
        for column in spec.numeric:
            present = frame[[column.name, spec.target]].dropna()
            codes = class_codes(present[spec.target], spec)
            values = present[column.name].to_numpy(dtype=float)
            densities[column.name] = class_densities(values, codes, len(spec.classes))
            bar.update()
    findings = {section: found[section] for section in SECTIONS}
    # Both are complete before the first is written.
    page = render_page(findings, densities)
    write_json(folder / "findings.json", findings)
    write_text(folder / "index.html", page)
    for item in findings["suggested_drops"]:
        log.info("Suggested drop: %s. %s", item["column"], item["reason"])
    log.info("Wrote %s", folder / "index.html")

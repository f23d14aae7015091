"""Stage `explore`: find out what the raw table holds, and show it on a page."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from canopy.explore.findings import Limits, compute_findings
from canopy.explore.page import render_page
from canopy.explore.profile import read_profile
from canopy.files import write_json, write_text
from canopy.prepare.interim import table_schema

log = logging.getLogger(__name__)


def run(params: DictConfig) -> None:
    """Write the findings about the raw table as JSON and as a page."""
    limits = Limits(**params.explore)
    profile = read_profile(params.paths.raw, table_schema(params), seed=params.seed)
    findings = compute_findings(profile, limits, seed=params.seed)
    # Both are complete before the first is written.
    page = render_page(findings, profile)
    folder = Path(params.paths.reports) / "exploration"
    write_json(folder / "findings.json", findings)
    write_text(folder / "index.html", page)
    for problem in findings["problems"]:
        what = (problem["column"], problem["requirement"], problem["n_rows"])
        log.warning("Column %r must %s: rows left out: %d", *what)
    for item in findings["suggestions"]:
        log.info("Suggestion: %s %s. %s", item["action"], item["column"], item["reason"])
    log.info("Wrote %s", folder / "index.html")

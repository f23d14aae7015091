"""Stage `explore`: find out what the raw table holds, and show it on a page."""

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pandas.util import hash_pandas_object

from canopy.explore.columns import describe_categories, describe_columns, describe_dates, describe_target
from canopy.explore.information import describe_correlation, measure_information
from canopy.explore.page import render_page
from canopy.explore.profile import Profile, read_profile
from canopy.explore.suggestions import find_constant, suggest
from canopy.explore.wording import rounded
from canopy.files import write_json, write_text
from canopy.prepare.interim import table_schema

log = logging.getLogger(__name__)

# Most columns of a matrix.
N_MATRIX = 40


def run(params: DictConfig) -> None:
    if (n_rows := params.explore.n_mutual_information_rows) < 1:
        raise ValueError(f"explore.n_mutual_information_rows must be at least 1; got {n_rows}")
    profile = read_profile(params.paths.raw, table_schema(params), seed=params.seed)
    findings = compute_findings(profile, params.explore, seed=params.seed)
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


def compute_findings(profile: Profile, limits: DictConfig, *, seed: int) -> dict[str, Any]:
    """Compute all findings, as plain data that JSON can hold; `limits` is the section `explore`."""
    schema = profile.schema
    columns = describe_columns(profile)
    categories = {name: describe_categories(profile, name) for name in schema.categorical}
    datetimes = {name: describe_dates(profile, name) for name in profile.present(schema.datetime)}
    mutual = measure_information(profile, datetimes, n_drawn=limits.n_mutual_information_rows, seed=seed)
    numeric = {name: profile.numbers(name) for name in profile.present(schema.numeric)}
    most_informative = [name for name in mutual["columns_nat"] if name in numeric][:N_MATRIX]
    shown = [name for name in numeric if name in most_informative]
    findings = {
        "table": {
            "title": schema.title,
            "about": schema.about,
            "n_rows": profile.n_rows,
            "n_unlabelled_rows": profile.n_unlabelled,
            "n_columns": len(columns),
            "n_features": len(schema.features),
            "n_numeric_columns": len(schema.numeric),
            "n_categorical_columns": len(schema.categorical),
            "n_datetime_columns": len(schema.datetime),
            "n_missing_values": profile.n_missing.total(),
            "n_duplicate_rows": int(hash_pandas_object(profile.frame, index=False).duplicated().sum()),
            "n_sampled_rows": len(profile.codes),
        },
        "target": describe_target(profile),
        "problems": [
            {**found._asdict(), "n_rows": profile.problems.counts[found.column, found.requirement]}
            for found in profile.problems.shown
        ],
        "constancy": find_constant(
            columns, categories, n_rows=profile.n_rows, share=limits.nearly_constant_share
        ),
        "mutual_information": mutual,
        "correlation": describe_correlation(numeric, high=limits.high_correlation, shown=shown),
        "categories": categories,
        "datetimes": datetimes,
        "columns": columns,
    }
    found: dict[str, Any] = rounded({**findings, "suggestions": suggest(findings)})
    return found

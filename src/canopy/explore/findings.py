"""Compute all findings about a table, as plain data that JSON can hold."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from canopy.explore.columns import (
    describe_categories,
    describe_columns,
    describe_target,
    find_constant,
    summarize_numeric,
)
from canopy.explore.correlation import describe_association, describe_correlation
from canopy.explore.dates import describe_dates
from canopy.explore.information import measure_information
from canopy.explore.profile import Profile
from canopy.explore.suggestions import suggest

# Most columns of a matrix.
N_MATRIX = 40


@dataclass(frozen=True, kw_only=True)
class Limits:
    """From which figures on something is worth a remark: the section `explore` of `params.yaml`."""

    nearly_constant_share: float
    high_correlation: float
    n_mutual_information_rows: int

    def __post_init__(self) -> None:
        for name in ("nearly_constant_share", "high_correlation"):
            if not 0 < (value := getattr(self, name)) <= 1:
                raise ValueError(f"explore.{name} must be above 0 and at most 1; got {value}")
        if (n_rows := self.n_mutual_information_rows) < 1:
            raise ValueError(f"explore.n_mutual_information_rows must be at least 1; got {n_rows}")


def compute_findings(profile: Profile, limits: Limits, *, seed: int) -> dict[str, Any]:
    """Compute all findings: sections by name, of dictionaries, lists, texts and numbers only.

    `seed` is that of the rows that mutual information is estimated from.
    """
    schema, numbers = profile.schema, profile.numbers
    columns = describe_columns(profile)
    categories = {name: describe_categories(profile, name) for name in schema.categorical}
    datetimes = {
        name: describe_dates(profile, name) for name in schema.datetime if columns[name]["n_distinct"]
    }
    mutual = measure_information(profile, datetimes, n_drawn=limits.n_mutual_information_rows, seed=seed)
    ranking = [*mutual["columns_nat"]]

    def most_informative(names: Iterable[str]) -> list[str]:
        """Choose the columns of a matrix; they stay in their order."""
        chosen = {*[name for name in ranking if name in {*names}][:N_MATRIX]}
        return [name for name in names if name in chosen]

    numeric = {name: numbers[name] for name in schema.numeric if columns[name]["n_distinct"]}
    grouping = most_informative(schema.categorical)
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
            "n_missing_values": sum(found.n_missing for found in profile.figures.values()),
            "n_duplicate_rows": profile.n_duplicates,
            "n_sampled_rows": len(profile.codes),
        },
        "suggestions": [],
        "target": describe_target(profile),
        "problems": [
            {
                "column": column,
                "requirement": requirement,
                "n_rows": n_rows,
                "examples": [
                    {"file": found.file, "line": found.line, "value": found.value}
                    for found in profile.problems.shown
                    if (found.column, found.requirement) == (column, requirement)
                ],
            }
            for (column, requirement), n_rows in profile.problems.counts.items()
        ],
        "constancy": {
            "nearly_constant_share": limits.nearly_constant_share,
            **find_constant(columns, categories, profile.n_rows, limits.nearly_constant_share),
        },
        "mutual_information": mutual,
        "correlation": {
            "high_correlation": limits.high_correlation,
            **describe_correlation(
                numeric, high_correlation=limits.high_correlation, shown=most_informative(numeric)
            ),
        },
        "association": describe_association(
            {name: numbers[name] for name in most_informative(schema.numeric)},
            profile.texts,
            {name: [*categories[name]["categories"]] for name in grouping},
        ),
        "numeric": summarize_numeric(profile),
        "categories": categories,
        "datetimes": datetimes,
        "columns": columns,
    }
    findings["suggestions"] = suggest(findings)
    return findings

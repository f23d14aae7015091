"""Where a model is worse than elsewhere: scores of the rows that share a value, a range or a condition."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from canopy.data.dataset import Batch
from canopy.evaluation.features import UNSEEN, Feature
from canopy.explore.wording import moment, number
from canopy.prepare.reductions import Floats
from canopy.tables.reader import open_duckdb
from canopy.tasks.task import LEVEL, Task

log = logging.getLogger(__name__)

# Ranges of a number with more values than that, and the categories of a column that are looked at, the most
# frequent ones.
N_RANGES, N_CATEGORIES = 10, 50

Codes = NDArray[np.int64]
# What a slice is called, and the code of each row's.
Slices = tuple[list[dict[str, Any]], Codes]


def feature_slices(feature: Feature, values: Floats) -> Slices:
    """Divide rows by a feature: by value where it has few, else in ranges of about as many rows."""
    distinct, codes = np.unique(values, return_inverse=True)
    if feature.kind == "categorical":
        order = np.argsort(-np.bincount(codes), kind="stable")[:N_CATEGORIES]
        places = np.full(len(distinct), -1)
        places[order] = np.arange(len(order))
        return [_named(feature, feature.text(value)) for value in distinct[order]], places[codes]
    present = distinct[~np.isnan(distinct)]
    shares = np.linspace(0, 1, N_RANGES + 1)
    edges = present
    if len(present) > N_RANGES:
        edges = np.unique(np.nanquantile(values, shares, method="closest_observation"))
    # As many digits as tell them apart.
    digits = next((n for n in range(4, 15) if len({number(v, n) for v in edges}) == len(edges)), 15)
    write = moment if feature.kind == "datetime" else partial(number, digits=digits)
    if len(present) <= N_RANGES:
        names = [write(value) for value in present]
    else:
        codes = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
        codes[np.isnan(values)] = len(edges) - 1
        ends = [f"to below {write(end)}" for end in edges[1:-1]] + [f"to {write(edges[-1])}"]
        names = [f"{write(start)} {end}" for start, end in zip(edges[:-1], ends, strict=True)]
    return [_named(feature, name) for name in (*names, None)], codes


def _named(feature: Feature, value: object) -> dict[str, Any]:
    return {"feature": feature.name, "value": value}


def condition_slices(conditions: Sequence[str], features: Sequence[Feature], rows: Batch) -> list[Slices]:
    """Find the rows that meet each condition, an SQL expression over the columns in their units.

    Missing values are NULL, and a category that no training row had is the text `UNSEEN`.

    Raises:
        ValueError: If they are no list, or DuckDB cannot compute a condition; none can read files.
    """
    if not conditions:
        return []
    if isinstance(conditions, str) or not isinstance(conditions, Sequence):
        raise ValueError(f'explanation.slices must be a list of SQL conditions, ["..."]; got {conditions!r}')
    # Here, since it takes time to import.
    import duckdb

    columns: dict[str, pa.Array] = {}
    for feature in features:
        values = feature.values(rows)
        if feature.kind == "categorical":
            names = [*(value for value, _ in feature.categories), UNSEEN]
            places = np.minimum(values, len(names) - 1).astype(np.int32)
            missing = (places == len(names) - 2) & feature.has_missing
            columns[feature.name] = pa.DictionaryArray.from_arrays(pa.array(places, mask=missing), names)
        elif feature.kind == "datetime":
            minutes = np.round(np.nan_to_num(values) * 1440).astype("datetime64[m]")
            columns[feature.name] = pa.array(minutes.astype("datetime64[us]"), mask=np.isnan(values))
        else:
            columns[feature.name] = pa.array(values, from_pandas=True)
    # DuckDB would take the first of columns whose names differ only in case.
    n_alike = Counter(name.lower() for name in columns)
    table, found = pa.table({k: v for k, v in columns.items() if n_alike[k.lower()] == 1}), []
    with open_duckdb() as connection:
        connection.register("rows", table)
        connection.execute("SET enable_external_access = false")
        for condition in conditions:
            try:
                # As one expression: a text in a statement could end it.
                expression = duckdb.SQLExpression(str(condition)).cast("BOOLEAN")
                meets, *others = connection.view("rows").select(expression).fetchnumpy().values()
            except duckdb.Error as error:
                reason = str(error).strip().partition("\n")[0]
                raise ValueError(
                    f"explanation.slices must hold SQL conditions on columns; got {condition!r}: {reason}"
                ) from error
            if others or len(meets) != len(rows.labels):
                raise ValueError(f"explanation.slices must hold conditions on single rows; got {condition!r}")
            codes = np.where(np.ma.filled(meets, fill_value=False), 0, -1)
            found.append(([{"feature": None, "value": condition}], codes))
    return found


def score_slices(slices: Iterable[Slices], losses: Floats, task: Task, *, min_rows: int) -> dict[str, Any]:
    """Score the slices of at least `min_rows` rows, and find those that are worse than all other rows.

    Of classes, that is tested by Fisher's exact test of the errors inside and outside, of numbers by Welch's
    test of the sizes of errors, one-sided, with Holm's correction for the number of slices. The intervals
    hold for all slices at once (Bonferroni): Wilson's of the accuracy, normal ones of the others. `losses`
    are those of the task, shape (2, n_rows).
    """
    # Here, since it takes time to import.
    from scipy.special import ndtr, ndtri
    from scipy.stats import hypergeom

    n_all = losses.shape[1]
    (first, _), (second, _) = task.mean_scores
    is_share = second == "accuracy"
    found: list[dict[str, Any]] = []
    sums: list[Floats] = []
    for names, codes in slices:
        kept = codes >= 0
        parts = (None, losses[1], losses[0], losses[0] ** 2)
        weights = (part if part is None else part[kept] for part in parts)
        totals = np.stack([np.bincount(codes[kept], part, len(names)) for part in weights], axis=1)
        for name, total in zip(names, totals.astype(float), strict=True):
            # A slice of all rows has nothing outside.
            if min_rows <= total[0] < n_all:
                found.append(name)
                sums.append(total)
            elif name["feature"] is None:
                log.warning("Left out the slice %r: %d of %d rows", name["value"], total[0], n_all)
    n, wrong, loss, squares = np.array(sums).reshape(-1, 4).T
    # Each side of each interval.
    z = ndtri(1 - (1 - LEVEL) / (2 * max(len(n), 1)))
    mean = loss / n
    error = np.sqrt(np.maximum(squares / n - mean**2, 0) / np.maximum(n - 1, 1))
    if is_share:
        p = hypergeom.sf(wrong - 1, n_all, round(losses[1].sum()), n)
    else:
        n_others = n_all - n
        others = (losses[0].sum() - loss) / n_others
        spread = np.maximum(((losses[0] ** 2).sum() - squares) / n_others - others**2, 0)
        distance = (mean - others) / np.sqrt(np.maximum(error**2 + spread / n_others, 1e-300))
        p = ndtr(-distance)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))), 1)
    for i, item in enumerate(found):
        item |= {"n_rows": int(n[i])}
        if is_share:
            item[second] = float(accuracy := 1 - wrong[i] / n[i])
            center, half = _wilson(accuracy, n[i], z)
            item[f"{second}_interval"] = [float(max(center - half, 0)), float(min(center + half, 1))]
        else:
            item[second] = float(wrong[i] / n[i])
        item[first] = float(mean[i])
        ends = mean[i] + z * error[i] * np.array([-1, 1])
        item[f"{first}_interval"] = np.maximum(ends, 0).tolist()
        item["p_value"] = float(adjusted[i])
    worse = [item for item in found if item["p_value"] < 1 - LEVEL]
    return {
        "n_rows": n_all,
        **task.mean_scores_of(losses),
        "min_rows": min_rows,
        # By the accuracy that a slice has at most, or the error that it has at least.
        "worse": sorted(
            worse,
            key=lambda item: item["accuracy_interval"][1] if is_share else -item[f"{first}_interval"][0],
        ),
        "all": found,
    }


def _wilson(shares: float, n: float, z: float) -> tuple[float, float]:
    """Give center and half width of the interval of a share (Wilson, 1927)."""
    half = z * np.sqrt(shares * (1 - shares) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return (shares + z**2 / (2 * n)) / (1 + z**2 / n), half

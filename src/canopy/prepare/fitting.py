"""Learn a preprocessor from batches of training rows."""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from canopy.names import by_number
from canopy.prepare import scaling
from canopy.prepare.preprocessor import OTHER, Preprocessor, Vocabulary
from canopy.prepare.reductions import Floats, Moments, Sample
from canopy.prepare.scaling import (
    Affine,
    Cycle,
    Log1p,
    Method,
    QuantileNormal,
    Scaling,
    TargetMethod,
    TargetScaling,
    as_floats,
    datetime_parts,
)
from canopy.schema import TableSchema
from canopy.schema.columns import DATETIME_PARTS, Categorical, Datetime, Numeric

log = logging.getLogger(__name__)

N_QUANTILES = 1000
CYCLES = {"month": 12.0, "day_of_week": 7.0, "hour": 24.0}


class Fit:
    """Collects figures of the training rows, and a sample of them, drawn by `seed`, for quantiles.

    What was collected of each `part` of a table is merged.
    """

    def __init__(
        self,
        schema: TableSchema,
        *,
        part: int = 0,
        methods: Mapping[str, Method],
        seed: int,
        target_method: TargetMethod = "z_score",
    ) -> None:
        self._schema, self._target_method = schema, target_method
        self._columns, self._methods = {**schema.numeric}, {**methods}
        target = schema.target
        if target.is_numeric:
            self._columns[target.column] = target.as_number.model_copy(update={"missing": "reject"})
            # What is left to do for a logarithm.
            self._methods[target.column] = "z_score" if target_method == "log1p" else target_method
        self.moments: defaultdict[str, Moments] = defaultdict(Moments)
        self.counts = {name: Counter[str | None]() for name in schema.categorical}
        self.sample = Sample(seed, part=part)
        by_rank = {name for name, method in self._methods.items() if method in ("robust", "quantile_normal")}
        by_rank |= {name for name, column in schema.numeric.items() if column.missing == "median"}
        by_rank |= {f"{name}.time" for name, column in schema.datetime.items() if column.missing == "median"}
        self._sampled = sorted(by_rank)

    def update(self, rows: pa.RecordBatch) -> None:
        """Add training rows (`canopy.tables.parse.Parsed`)."""
        found = {name: as_floats(rows[name]) for name in self._columns}
        if self._schema.target.is_numeric and self._target_method == "log1p":
            found[self._schema.target.column] = self._logarithm(found[self._schema.target.column])
        for name in self._schema.datetime:
            found |= {f"{name}.{part}": values for part, values in datetime_parts(rows[name]).items()}
        for name, values in found.items():
            self.moments[name].update(values)
        self.sample.update({name: found[name] for name in self._sampled}, rows.num_rows)
        for name, counts in self.counts.items():
            for item in pc.value_counts(rows[name]).to_pylist():
                counts[item["values"]] += item["counts"]

    def merge(self, other: "Fit") -> None:
        """Add what was collected of the rows of the next part."""
        for name, moments in other.moments.items():
            self.moments[name].merge(moments)
        for name, counts in other.counts.items():
            self.counts[name].update(counts)
        self.sample.merge(other.sample)

    def preprocessor(self, classes: Sequence[str]) -> Preprocessor:
        """Conclude, with the value of each class, in the order of the model's outputs."""
        schema = self._schema
        numeric = {name: self._fit_numeric(name) for name in schema.numeric if self.moments[name].n}
        datetime = {name: parts for name in schema.datetime if (parts := self._fit_datetime(name))}
        for name in sorted({*schema.numeric, *schema.datetime}.difference(numeric, datetime)):
            log.warning("Column %r has no value, or one alone, in the training rows: it is no feature", name)
        if not (numeric or datetime or schema.categorical):
            raise ValueError("At least one column must have values in the training rows; got none that does")
        filled: dict[str, Numeric | Datetime] = {**schema.numeric, **schema.datetime}
        return Preprocessor(
            numeric=numeric,
            datetime=datetime,
            categorical={name: vocabulary(self.counts[name], c) for name, c in schema.categorical.items()},
            indicators=tuple(name for name in (*numeric, *datetime) if filled[name].missing != "reject"),
            classes=tuple(classes),
            target=self._fit_target() if schema.target.is_numeric else None,
        )

    def _fit_target(self) -> TargetScaling:
        name = self._schema.target.column
        if (moments := self.moments[name]).low == moments.high:
            raise ValueError(f"The target {name!r} must have different values in the training rows; got one")
        scaling = self._fit_numeric(name)
        if self._target_method == "log1p":
            assert isinstance(scaling, Affine)
            return Log1p(center=scaling.center, scale=scaling.scale)
        assert not isinstance(scaling, Cycle)
        return scaling

    def _logarithm(self, values: Floats) -> Floats:
        if not (low := values.min(initial=np.inf)) > -1:
            raise ValueError(
                f"normalize.target=log1p must have a target above -1; got {low:g}: choose z_score or "
                "quantile_normal"
            )
        return np.asarray(np.log1p(values))

    def _fit_numeric(self, name: str) -> Scaling:
        method, moments, column = self._methods[name], self.moments[name], self._columns[name]
        fill = {"mean": moments.mean, "constant": column.fill_value}.get(str(column.missing))
        if column.missing == "median":
            fill = float(np.median(self.sample.values(name)))
        if method != "none" and moments.low == moments.high:
            log.warning("Column %r is %g in each training row: the model sees 0 for all", name, moments.low)
            # Any value becomes 0, since nothing can be learnt from others than one.
            ends = moments.low + np.array([-1.0, 1.0]) * max(1.0, abs(moments.low))
            return QuantileNormal(method=method, values=tuple(ends.tolist()), normals=(0.0, 0.0), fill=fill)
        # The square of a tiny deviation is 0.
        center, scale = moments.mean, moments.deviation or 1.0
        if method == "quantile_normal":
            return _quantile_normal(self.sample.values(name), fill)
        if method == "min_max":
            center, scale = moments.low, moments.high - moments.low
        elif method == "none":
            center, scale = 0.0, 1.0
        elif method == "robust":
            low, center, high = np.quantile(self.sample.values(name), [0.25, 0.5, 0.75]).tolist()
            if not (scale := high - low):
                raise ValueError(
                    f"The method robust must find different quartiles; got {low:g} twice for {name!r}: "
                    "choose z_score for it in normalize.methods"
                )
        return Affine(method=method, center=center, scale=scale, fill=fill)

    def _fit_datetime(self, name: str) -> dict[str, Scaling]:
        column = self._schema.datetime[name]
        if not self.moments[f"{name}.time"].n:
            return {}
        fills: dict[str, float] = {}
        if column.missing == "median":
            days = float(np.median(self.sample.values(f"{name}.time")))
            time = pa.array([int(days * scaling.MICROSECONDS_PER_DAY)], pa.timestamp("us"))
            fills = {part: float(values[0]) for part, values in datetime_parts(time).items()}
        found: dict[str, Scaling] = {}
        for part in DATETIME_PARTS:
            moments, fill = self.moments[f"{name}.{part}"], fills.get(part)
            is_used = moments.low < moments.high if column.parts == "auto" else part in column.parts
            if is_used and part in CYCLES:
                found[part] = Cycle(period=CYCLES[part], fill=fill)
            elif is_used:
                scale = moments.deviation or 1.0
                found[part] = Affine(method="z_score", center=moments.mean, scale=scale, fill=fill)
        return found


def vocabulary(counts: Mapping[str | None, int], column: Categorical) -> Vocabulary:
    """Choose the categories of a column, given the training rows with each value; None is a missing one."""
    merged: Counter[str] = Counter()
    for value, count in counts.items():
        if value is not None:
            merged[_as_integer(value)] += count
    frequent = [value for value, count in merged.most_common() if count >= (column.min_count or 1)]
    kept = {*frequent[: column.max_categories]}
    listed = column.listed
    values = sorted(kept, key=by_number) if listed is None else [value for value in listed if value in kept]
    if len(values) < len(merged) and OTHER not in values:
        values.append(OTHER)
    return Vocabulary(values=tuple(values), has_missing=column.missing == "category")


def _as_integer(value: str) -> str:
    """Write 2.0 as 2, as `Vocabulary.encode` reads it."""
    whole, _, fraction = value.partition(".")
    return whole if fraction and not fraction.strip("0") and whole.lstrip("+-").isdigit() else value


def _quantile_normal(values: Floats, fill: float | None) -> QuantileNormal:
    # Here, since it takes a third of a second that other methods need not wait for.
    from scipy.special import ndtri

    shares = np.linspace(0, 1, min(N_QUANTILES, len(values)))
    quantiles, first, counts = np.unique(np.quantile(values, shares), return_index=True, return_counts=True)
    # A value that covers several quantiles gets the middle of them.
    middle = (shares[first] + shares[first + counts - 1]) / 2
    # The ends of the data lie as far out as those of scikit-learn's QuantileTransformer.
    furthest = -ndtri(1e-7)
    normals = np.clip(ndtri(middle), -furthest, furthest)
    return QuantileNormal(values=tuple(quantiles.tolist()), normals=tuple(normals.tolist()), fill=fill)

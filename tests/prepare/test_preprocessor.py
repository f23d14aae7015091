"""The preprocessor: what it learns from training rows, and what it makes of rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats

from canopy.prepare.fitting import Fit, vocabulary
from canopy.prepare.preprocessor import Preprocessor
from canopy.prepare.reductions import Sample
from canopy.prepare.scaling import METHODS, Affine, Method
from canopy.schema import TableSchema
from canopy.schema.columns import Categorical

TIMES = pa.array(np.array(["2024-01-31T06:00", "2024-06-01T18:00", "2025-01-31"], "datetime64[us]"))


def fit(columns: dict[str, Any], *batches: pa.RecordBatch, method: Method = "z_score") -> Preprocessor:
    schema = TableSchema.parse({"target": {"column": "y"}, "columns": columns})
    learner = Fit(schema, methods=dict.fromkeys(schema.numeric, method), seed=0)
    for batch in batches:
        learner.update(batch)
    return learner.preprocessor(("u", "v"))


def batch(**columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("z_score", lambda x: (x - x.mean()) / x.std()),
        ("min_max", lambda x: (x - x.min()) / np.ptp(x)),
        ("robust", lambda x: (x - np.median(x)) / np.subtract(*np.quantile(x, [0.75, 0.25]))),
        ("none", lambda x: x),
        ("quantile_normal", lambda x: scipy.stats.norm.ppf((scipy.stats.rankdata(x) - 1) / (len(x) - 1))),
    ],
)
def test_scaling_follows_the_training_rows(method: Method, expected: Any) -> None:
    values = np.random.default_rng(0).normal(5, 3, 1000)
    rows = batch(a=values)
    learnt = fit({"a": {"kind": "numeric"}}, rows.slice(0, 300), rows.slice(300), method=method)
    found = learnt.transform(rows).numeric[:, 0]
    ordered = np.argsort(values)[1:-1]
    np.testing.assert_allclose(found[ordered], expected(values)[ordered], rtol=1e-4, atol=1e-5)


def test_sample_does_not_depend_on_batches() -> None:
    values, drawn = np.random.default_rng(0).normal(size=1000), []
    for size in (1000, 7, 300):
        sample = Sample(seed=1, size=100)
        for part in np.split(values, range(size, 1000, size)):
            sample.update({"a": part}, len(part))
        drawn.append(sample.values("a").tolist())
    assert len(drawn[0]) == 100
    assert drawn[0] == drawn[1] == drawn[2]


@pytest.mark.parametrize(("policy", "fill"), [("median", 2.0), ("mean", 4.0), ("constant", -1.0)])
def test_missing_numbers_are_filled_and_indicated(policy: str, fill: float) -> None:
    columns = {"a": {"kind": "numeric", "missing": policy, "fill_value": -1}}
    learnt = fit(columns, batch(a=[1.0, 2.0, None, 9.0]))
    assert isinstance(scaling := learnt.numeric["a"], Affine)
    assert scaling.fill == fill
    found = learnt.transform(batch(a=pa.array([None, 1.0], pa.float64())))
    assert found.numeric[0, 0] == pytest.approx((fill - scaling.center) / scaling.scale)
    assert found.categorical.tolist() == [[1], [0]]
    assert learnt.categories == {"a (missing)": ("no", "yes")}


COUNTS = {"b": 3, "a": 3, "c": 1, "2.0": 2, "2": 2, None: 1}


@pytest.mark.parametrize(
    ("counts", "policies", "names", "codes"),
    [
        (COUNTS, {"min_count": 2, "max_categories": 3}, ("2", "a", "b", "other"), [1, 0, 3, 3, 4]),
        ({"a": 1, "2": 1}, {}, ("2", "a"), [1, 0, 2, 2, 2]),
        ({"2": 1, "a": 1}, {"categories": {"a": "A", "2": "Two"}}, ("a", "2"), [0, 1, 2, 2, 2]),
    ],
    ids=["rare ones are other", "none is rare", "listed ones keep their order"],
)
def test_vocabulary_encodes_known_rare_and_unseen_categories(
    counts: dict[str | None, int], policies: dict[str, Any], names: tuple[str, ...], codes: list[int]
) -> None:
    found = vocabulary(counts, Categorical(**policies))
    assert found.names == names
    encoded, unseen = found.encode(pa.array(["a", "2.0", "c", "new", None]))
    assert encoded.tolist() == codes
    assert unseen.tolist() == [False, False, True, True, False]


def test_datetime_gives_the_parts_that_vary() -> None:
    columns = {"when": {"kind": "datetime"}}
    learnt = fit(columns, batch(when=TIMES))
    assert [*learnt.datetime["when"]] == ["year", "month", "day_of_week", "hour", "time"]
    found = learnt.transform(batch(when=TIMES))
    features = dict(zip(learnt.feature_names, found.numeric.T, strict=True))
    np.testing.assert_allclose(features["when.hour_sin"], [1, -1, 0], atol=1e-6)
    np.testing.assert_allclose(features["when.month_sin"], [0.5, 0, 0.5], atol=1e-6)
    assert features["when.year"][0] == features["when.year"][1] < features["when.year"][2]
    days = TIMES.cast(pa.date32(), safe=False).cast(TIMES.type)
    assert "hour" not in fit(columns, batch(when=days)).datetime["when"]


def test_preprocessor_is_saved_and_loaded(tmp_path: Path) -> None:
    columns = {"a": {"kind": "numeric", "missing": "mean"}, "when": {"kind": "datetime", "missing": "median"}}
    columns["c"] = {"kind": "categorical", "missing": "category"}
    rows = batch(a=[1.0, None, 3.0], when=TIMES, c=["x", None, "y"])
    for method in METHODS:
        learnt = fit(columns, rows, method=method)
        learnt.save(tmp_path / "p.json")
        assert Preprocessor.load(tmp_path / "p.json") == learnt
        # Whatever the batches.
        alone = zip(*(learnt.transform(rows.slice(row, 1)) for row in range(3)), strict=True)
        for found, expected in zip(alone, learnt.transform(rows), strict=True):
            np.testing.assert_array_equal(np.concatenate(found), expected)
    (tmp_path / "p.json").write_text('{"format": 2, "numeric": {"a": {"kind": "affine"}}}')
    with pytest.raises(ValueError, match=r"p.json is damaged: .*numeric.a.affine.method .*make repro"):
        Preprocessor.load(tmp_path / "p.json")


def test_column_that_hardly_varies_is_refused_or_not_divided_by_0() -> None:
    columns = {"a": {"kind": "numeric"}}
    assert fit(columns, batch(a=[0.0, 1e-200])).numeric["a"].scale == 1
    with pytest.raises(ValueError, match="must find different quartiles; got 1 twice for 'a'"):
        fit(columns, batch(a=[1.0, 1.0, 1.0, 1.0, 2.0]), method="robust")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [[3.0, 3.0], [3.0, None], [1e30, 1e30]])
def test_constant_column_is_scaled_to_0(
    values: list[Any], method: Any, caplog: pytest.LogCaptureFixture
) -> None:
    columns = {"a": {"kind": "numeric", "missing": "median"}}
    learnt = fit(columns, batch(a=pa.array(values, pa.float64())), method=method)
    encoded = learnt.transform(batch(a=pa.array([values[0], None, -7.0, 1e6], pa.float64())))
    if method == "none":
        assert encoded.numeric[2] == -7
    else:
        assert not encoded.numeric.any()
        assert "'a'" in caplog.text
    assert encoded.categorical[:, 0].tolist() == [0, 1, 0, 0]


def test_column_without_training_values_is_no_feature(caplog: pytest.LogCaptureFixture) -> None:
    kinds = {"a": "numeric", "same": "datetime", "when": "datetime"}
    columns = {name: {"kind": kind, "missing": "median"} for name, kind in kinds.items()}
    declared = {**columns, "c": {"kind": "categorical"}}
    times = {name: pa.array([value] * 2, pa.timestamp("us")) for name, value in (("same", 1), ("when", None))}
    rows = batch(a=pa.array([None, None], pa.float64()), **times, c=["x", "y"])
    learnt = fit(declared, rows)
    assert (learnt.numeric, learnt.datetime, learnt.indicators) == ({}, {}, ())
    assert learnt.transform(rows).categorical.tolist() == [[0], [1]]
    restricted = learnt.restrict(TableSchema.parse({"target": {"column": "y"}, "columns": declared}))
    assert (restricted.features, restricted.ignored) == (["c"], ["a", "same", "when"])
    assert all(repr(name) in caplog.text for name in kinds)
    with pytest.raises(ValueError, match="At least one column must have values"):
        fit(columns, rows)

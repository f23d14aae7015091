import json
import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from scipy.stats import binomtest
from torch import Tensor

from canopy.data.dataset import Batch
from canopy.evaluation.evaluate import evaluate
from canopy.evaluation.explain import explain_rows
from canopy.evaluation.features import Feature, table_features, take, with_inputs
from canopy.evaluation.importance import measure_dependence, measure_importance
from canopy.evaluation.page import render_page
from canopy.evaluation.slices import condition_slices, feature_slices, score_slices
from canopy.explore.wording import rounded
from canopy.prepare.preprocessor import Preprocessor, Vocabulary
from canopy.prepare.scaling import Affine, Cycle, QuantileNormal, Scaling
from canopy.runs.run import Run
from canopy.schema import TableSchema
from canopy.tasks.calibration import calibrate, fit_temperature
from odd_names import ODD_NAMES
from packages import composed
from schemas import class_task

TASK = class_task("no", "yes")
OPTIONS = OmegaConf.merge(composed("evaluate", "run=x").explanation, {"n_rows": 400, "n_curve_rows": 50})


@pytest.fixture
def preprocessor() -> Preprocessor:
    z = Affine(method="z_score", center=50.0, scale=10.0, fill=50.0)
    parts: dict[str, Scaling] = {
        "month": Cycle(period=12.0),
        "time": Affine(method="z_score", center=19000.0, scale=100.0),
    }
    return Preprocessor(
        numeric={"age": z, "noise": z},
        datetime={"day": parts},
        categorical={"city": Vocabulary(values=("a", "b", "c"))},
        indicators=("age",),
        classes=("no", "yes"),
    )


@pytest.fixture
def features(preprocessor: Preprocessor) -> list[Feature]:
    columns: dict[str, Any] = {
        "age": {"kind": "numeric", "missing": "mean", "unit": "years"},
        "noise": {"kind": "numeric"},
        "city": {"kind": "categorical", "categories": {"a": "Aarau", "b": "b", "c": "c"}},
        "day": {"kind": "datetime"},
    }
    return table_features(preprocessor, TableSchema.parse({"target": {"column": "y"}, "columns": columns}))


def make_rows(n_rows: int = 2000, seed: int = 0) -> Batch:
    """The label is whether the age, the first number, is above its mean; one row in ten has none."""
    generator = torch.Generator().manual_seed(seed)
    numeric = torch.randn(n_rows, 5, generator=generator)
    missing = torch.arange(n_rows) % 10 == 0
    numeric[missing, 0] = 0.0
    city = torch.randint(3, (n_rows,), generator=generator)
    return Batch(numeric, torch.stack([city, missing.long()], 1).to(torch.uint8), (numeric[:, 0] > 0).long())


def predict(numeric: Tensor, categorical: Tensor) -> NDArray[np.float32]:
    yes = torch.sigmoid(4 * numeric[:, 0] - categorical[:, 1].float())
    return torch.stack([1 - yes, yes], dim=1).numpy()


def test_a_feature_is_all_inputs_of_its_column(features: list[Feature]) -> None:
    found = {feature.name: (feature.numeric, feature.codes) for feature in features}
    assert found == {
        "age": ((0,), (1,)),
        "noise": ((1,), ()),
        "city": ((), (0,)),
        "day": ((2, 3, 4), ()),
    }
    rows, others = make_rows(), make_rows(seed=1)
    for feature in features:
        changed = with_inputs(rows, feature, others)
        for part, places in (("numeric", feature.numeric), ("categorical", feature.codes)):
            before, donors, after = (getattr(batch, part) for batch in (rows, others, changed))
            kept = [place for place in range(before.shape[1]) if place not in places]
            assert torch.equal(after[:, kept], before[:, kept])
            assert torch.equal(after[:, [*places]], donors[:, [*places]])


def test_permuted_inputs_of_a_feature_stay_together(features: list[Feature]) -> None:
    rows, seen = make_rows(), list[Tensor]()
    # Sine and cosine of the month, and the indicator of the age, fit together in each row.
    angle = torch.arange(2000) * 0.7
    rows.numeric[:, 2], rows.numeric[:, 3] = angle.sin(), angle.cos()

    def check(numeric: Tensor, categorical: Tensor) -> NDArray[np.float32]:
        torch.testing.assert_close(numeric[:, 2] ** 2 + numeric[:, 3] ** 2, torch.ones(len(numeric)))
        assert (numeric[categorical[:, 1] == 1, 0] == 0).all()
        seen.append(numeric[:, 2])
        return predict(numeric, categorical)

    measure_importance(check, rows, features, TASK, n_rows=500, n_repeats=2, seed=0)
    assert len(seen) == 1 + 2 * len(features)
    assert len({tuple(column.tolist()) for column in seen}) == 3


def test_importance_finds_the_feature_that_decides(features: list[Feature]) -> None:
    found = measure_importance(predict, make_rows(), features, TASK, n_rows=1500, n_repeats=3, seed=0)
    (first, importance), *others = found["features"].items()
    assert (first, found["n_rows"]) == ("age", 1500)
    assert importance["log_loss_increase"]["interval"][0] > 0.5
    # Two of five labels are those of another row in every other case.
    assert importance["accuracy_decrease"]["mean"] == pytest.approx(0.5, abs=0.05)
    for _, other in others:
        assert other["log_loss_increase"] == {"mean": 0.0, "interval": [0.0, 0.0]}


def test_importance_of_a_noisy_input_has_an_interval_around_0(features: list[Feature]) -> None:
    """A model that uses noise of no relation to the labels loses nothing on average."""

    def guess(numeric: Tensor, _: Tensor) -> NDArray[np.float32]:
        return torch.softmax(torch.stack([numeric[:, 1], -numeric[:, 1]], 1), 1).numpy()

    covered = []
    for seed in range(20):
        rows = make_rows(seed=seed)
        rows.labels[:] = torch.randint(2, (2000,), generator=torch.Generator().manual_seed(seed + 99))
        found = measure_importance(guess, rows, features, TASK, n_rows=2000, n_repeats=1, seed=0)
        low, high = found["features"]["noise"]["log_loss_increase"]["interval"]
        covered.append(low < 0 < high)
    assert sum(covered) >= 16


def test_partial_dependence_is_that_of_an_exhaustive_search(features: list[Feature]) -> None:
    rows = make_rows(500)
    found = measure_dependence(predict, rows, features, TASK, n_rows=500, seed=0)["features"]
    *values, missing = found["age"]["values"]
    assert missing is None
    curve = found["age"]["classes"]["yes"]
    for value, mean in zip(values, curve["mean"], strict=False):
        expected = predict(torch.full((500, 1), (value - 50) / 10), torch.zeros(500, 2))[:, 1].mean()
        assert mean == pytest.approx(expected, abs=1e-5)
    assert curve["mean"][-1] == pytest.approx(1 / (1 + np.e), abs=1e-5)
    assert values == sorted(values)
    assert {*found["city"]["values"]} == {"Aarau (a)", "b", "c"}


@pytest.mark.parametrize(
    ("scaling", "values"),
    [
        (Affine(method="z_score", center=2959.8, scale=279.9), [1859.0, 2596.5, 3858.0]),
        (Affine(method="none", center=0.0, scale=1.0), [-3.25, 0.0, 1000.0]),
        (Affine(method="z_score", center=10.0, scale=5.0), [3.0, 7.0, 12.0, 50000.0]),
        (QuantileNormal(values=(0.0, 1.0, 50.0), normals=(-5.2, 0.0, 5.2)), [0.0, 0.5, 1.0, 20.0]),
        (Cycle(period=24.0), [0.0, 6.5, 12.0, 23.75]),
    ],
)
def test_scaling_is_inverted(scaling: Scaling, values: list[float]) -> None:
    scaled = np.stack(scaling.apply(np.array(values)), axis=1).astype(np.float32)
    found = scaling.invert(scaled.astype(np.float64))
    assert found.tolist() == values


def test_values_are_those_of_the_table(features: list[Feature]) -> None:
    """Also those of a constant column, and of a category that no training row had."""
    age, _, city, day = features
    rows = take(make_rows(), [0, 1])
    rows.numeric[:] = torch.tensor([[0.0, 0, 0.5, 0.8, 0.0], [1.2, 0, 0.5, 0.8, 1.0]])
    rows.categorical[:, 0] = torch.tensor([0, 3])
    shown = [[feature.text(value) for value in feature.values(rows)] for feature in (age, city, day)]
    assert shown == [[None, 62.0], ["Aarau (a)", "unseen in training"], ["2022-01-08", "2022-04-18"]]
    constant = QuantileNormal(values=(4.0, 6.0), normals=(0.0, 0.0))
    assert constant.invert(np.zeros((2, 1))).tolist() == [5.0, 5.0]


def test_slices_find_a_planted_one_and_none_among_random_errors(features: list[Feature]) -> None:
    rows, generator = make_rows(4000), np.random.default_rng(0)

    def found(right: NDArray[np.bool_], seed: int = 0) -> dict[str, Any]:
        slices = [feature_slices(feature, feature.values(rows)) for feature in features]
        return score_slices(slices, np.stack([np.where(right, 0.1, 2.0), ~right]), TASK, min_rows=100)

    n_false = sum(bool(found(generator.random(4000) < 0.9)["worse"]) for _ in range(40))
    # At most one in twenty.
    assert n_false <= 5
    bad = rows.categorical[:, 0].numpy() == 1
    scored = found(generator.random(4000) < np.where(bad, 0.8, 0.9))
    assert [(item["feature"], item["value"]) for item in scored["worse"]] == [("city", "b")]
    for item in scored["all"]:
        exact = binomtest(round(item["accuracy"] * item["n_rows"]), item["n_rows"])
        interval = exact.proportion_ci(1 - 0.05 / len(scored["all"]), method="wilson")
        assert item["accuracy_interval"] == pytest.approx([*interval], abs=1e-9)
        assert item["n_rows"] >= 100
    ages = [item for item in scored["all"] if item["feature"] == "age"]
    assert (len(ages), ages[-1]["value"]) == (11, None)
    assert sum(item["n_rows"] for item in ages) == 4000


def test_conditions_are_in_the_units_of_the_table(features: list[Feature]) -> None:
    rows = make_rows()
    conditions = ["age > 60 AND city = 'b'", "day >= '2022-01-08'", "age IS NULL OR isnan(age)"]
    masks = [codes == 0 for _, codes in condition_slices(conditions, features, rows)]
    age, present = rows.numeric[:, 0].numpy(), rows.categorical[:, 1].numpy() == 0
    expected = (age > 1.0) & present & (rows.categorical[:, 0].numpy() == 1)
    assert masks[0].tolist() == expected.tolist()
    assert masks[1].sum() == pytest.approx((rows.numeric[:, 4] > 0).sum(), abs=2)
    assert masks[2].tolist() == (~present).tolist()
    for wrong in ("height > 3", "(SELECT count(*) FROM read_csv('/etc/passwd')) > 0"):
        with pytest.raises(ValueError, match=re.escape(f"SQL conditions on columns; got {wrong!r}")):
            condition_slices([wrong], features, rows)


def page_of(rows: Batch, features: list[Feature], names: tuple[str, ...], model: Any = predict) -> str:
    task = class_task(*names)
    found = rounded(explain_rows(model, rows, features, task, OPTIONS))
    probabilities, labels = model(*rows[:2]).astype(np.float64), rows.labels.numpy()
    scores = task.score(probabilities, labels)
    calibration = calibrate(probabilities, labels, temperature=fit_temperature(probabilities, labels))
    report = {"val": {**scores.report(), "calibrated": calibration.report()}}
    of_run = {"task": task, "scores": {"val": scores}, "calibrations": {"val": calibration}, "figures": {}}
    return render_page(report, found, title=names[0], run_name="<run>", **of_run)


def parse(page: str) -> Any:
    closed = re.sub("<(meta|link|wbr)([^>]*)>", r"<\1\2/>", page)
    return fromstring(closed.replace(" open>", ">"))  # noqa: S314


def test_page_escapes_names_and_loads_nothing() -> None:
    odd = [*ODD_NAMES, "<script>alert(1)</script>", '"><img src=x>']
    numeric = {name: Affine(method="none", center=0.0, scale=1.0) for name in odd}
    categorical = {f"{name} of": Vocabulary(values=(*odd, "é")) for name in odd[-3:]}
    described = Preprocessor(
        numeric=numeric, datetime={}, categorical=categorical, indicators=(), classes=(*odd,)
    )
    kinds = dict.fromkeys(numeric, "numeric") | dict.fromkeys(categorical, "categorical")
    schema = TableSchema.parse(
        {"target": {"column": "y"}, "columns": {name: {"kind": kind} for name, kind in kinds.items()}}
    )
    generator = torch.Generator().manual_seed(0)
    shape = (500, len(categorical))
    codes = torch.randint(len(odd), shape, generator=generator)
    labels = torch.randint(len(odd), (500,), generator=generator)
    rows = Batch(torch.randn(500, len(odd), generator=generator), codes, labels)

    def model(numbers: Tensor, codes: Tensor) -> NDArray[np.float32]:
        return (numbers + codes[:, :1]).softmax(1).numpy()

    page = page_of(rows, table_features(described, schema), (*odd,), model)
    elements = [*parse(page).iter()]
    assert not {"script", "img"} & {element.tag for element in elements}
    text = " ".join("".join(parse(page).itertext()).split())
    for name in ("<script>alert(1)</script>", "${z}", "a\"b'c", "日本"):
        assert name in text
    assert not re.search(r"(src|href)=\"(?!#|data:,)|@import|url\(", page)


@pytest.mark.parametrize("kind", ["numeric", "categorical", "datetime"])
def test_page_of_one_feature(kind: str, features: list[Feature]) -> None:
    chosen = [next(feature for feature in features if feature.kind == kind)]
    for n_rows in (30, 600):
        page = page_of(make_rows(n_rows), chosen, ("no", "yes"))
        text = "".join(parse(page).itertext())
        assert ("None has at least 50 rows" in text) == (n_rows == 30)
        assert not re.search(r"\bnan\b|\bNone,|undefined", text)


@pytest.mark.usefixtures("trusted_targets")
def test_evaluate_explains_a_run(trained_run: Run, raw_table: Path, tmp_path: Path) -> None:
    """Of a table with a dropped 0/1 column; the mistakes have the values of rows of the raw table."""
    import pandas as pd

    quiet = ("trainer=cpu", "trainer.enable_progress_bar=false", "callbacks.progress_bar=null")
    places = (f"run={trained_run.path}", f"run_folder={tmp_path / 'evaluation'}")
    config: DictConfig = composed(
        "evaluate", *quiet, *places, "explain=true", "explanation.min_slice_rows=10"
    )
    evaluate(trained_run, config)
    folder = trained_run.path / "evaluation"
    found = json.loads((folder / "explanation.json").read_text())
    assert {*found["features"]} == {"weight", "size", "colour"} == {*found["importance"]["features"]}
    for name in ("importance_val.png", "partial_dependence_val.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    page = (folder / "index.html").read_text()
    assert "<h1>Fruit</h1>" in page
    assert parse(page).tag == "html"
    table, kept = pd.read_csv(raw_table), pd.read_parquet(folder / "predictions_val.parquet")
    rows = {(weight, kind) for weight, kind in zip(table["weight"], table["kind"], strict=True)}
    kinds = {"Apple": 1, "Pear": 2, "Plum": 3}
    for item in found["mistakes"]:
        assert (item["values"]["weight"], kinds[item["true"]]) in rows
        own = kept.iloc[item["row"]]
        assert own[f"probability_{int(own['label'])}"] == pytest.approx(item["probability_of_true"], rel=1e-4)
    config.split = "test"
    with pytest.raises(ValueError, match="explain=true needs validation rows"):
        evaluate(trained_run, config)

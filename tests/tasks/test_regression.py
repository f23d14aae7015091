"""Scores of regression against those of scikit-learn, prediction intervals, scalings of the target."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import binom
from sklearn import metrics as sklearn_metrics

from canopy.prepare.labels import number_ranges
from canopy.prepare.scaling import scale_target
from canopy.tasks.regression import Regression, Unscale
from schemas import class_task, number_task

VALUES = np.sort(np.random.default_rng(3).lognormal(8, 1, 400))
SHARES = np.linspace(0.001, 0.999, 400)
SCALINGS = {
    "z_score": {"kind": "affine", "method": "z_score", "center": 1e6, "scale": 250.0},
    "log1p": {"kind": "log1p", "center": 8.0, "scale": 0.9},
    "quantile_normal": {
        "kind": "quantile_normal",
        "values": tuple(VALUES.tolist()),
        "normals": tuple(ndtri(SHARES).tolist()),
    },
}


def task_of(name: str) -> Regression:
    task = number_task(**SCALINGS[name])
    assert isinstance(task, Regression)
    return task


def draw(task: Regression, n_rows: int, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Predictions in the target's unit, and labels as in tensors, whose errors grow with the label."""
    random = np.random.default_rng(seed)
    labels = random.normal(size=n_rows).astype(np.float32)
    outputs = torch.tensor(labels + random.normal(0, 0.3, n_rows) * np.exp(labels / 2), dtype=torch.float64)
    return task.predict(outputs[:, None]).numpy(), labels


@pytest.mark.parametrize("name", SCALINGS)
@pytest.mark.parametrize("n_rows", [2, 700])
def test_scores_are_those_of_scikit_learn(name: str, n_rows: int) -> None:
    task = task_of(name)
    predictions, labels = draw(task, n_rows, seed=n_rows)
    metrics = task.build_metrics()
    for rows in np.array_split(np.arange(n_rows), 3):
        if len(rows):
            batch = torch.tensor(predictions[rows]), torch.tensor(labels[rows])
            metrics.update(*task.metric_inputs(*batch))
    found = task.read_scores(metrics.compute()).report()
    true = Unscale(task.scaling)(torch.tensor(labels).double()).numpy()
    expected = {
        "rmse": sklearn_metrics.root_mean_squared_error(true, predictions[:, 0]),
        "mae": sklearn_metrics.mean_absolute_error(true, predictions[:, 0]),
        "r2": sklearn_metrics.r2_score(true, predictions[:, 0]),
        "mape": sklearn_metrics.mean_absolute_percentage_error(true, predictions[:, 0]),
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-7)
    assert found["n_rows"] == n_rows
    for key, (low, high) in found["intervals"].items():
        assert 0 <= low <= found[key] <= high
    # As numbers in the table, but for the digits that single precision does not hold.
    np.testing.assert_allclose(task.true_values(labels), true, rtol=1e-4 if "quantile" in name else 3e-6)


def test_mape_is_left_out_where_a_label_is_0_and_r2_where_all_are_equal() -> None:
    task = number_task(kind="affine", method="z_score", center=0.0, scale=1.0)
    found = task.score(np.array([[1.0], [2.0]]), np.zeros(2, np.float32)).report()
    assert {"mape", "r2"}.isdisjoint(found)
    assert found["mae"] == 1.5


def test_intervals_of_scores_cover_those_of_all_rows() -> None:
    task, covered = task_of("z_score"), np.zeros(2)
    predictions, labels = draw(task, 60_000, seed=0)
    whole = task.score(predictions, labels).report()
    for rows in np.array_split(np.random.default_rng(0).permutation(60_000), 100):
        found = task.score(predictions[rows], labels[rows]).report()["intervals"]
        covered += [low <= whole[name] <= high for name, (low, high) in found.items()]
    # Of 100, 95 are expected.
    assert (covered >= 86).all()


@pytest.mark.parametrize("name", SCALINGS)
def test_unscale_inverts_the_scaling(name: str) -> None:
    task = task_of(name)
    values = VALUES[5:-5] if name != "z_score" else VALUES + 1e6
    scaled = torch.tensor(task.scaling.apply(values)[0])
    np.testing.assert_allclose(Unscale(task.scaling)(scaled).numpy(), values, rtol=1e-9)
    found = task.predict(torch.tensor([-50.0, 50.0], dtype=torch.float64))
    if name == "quantile_normal":
        assert found.tolist() == [VALUES[0], VALUES[-1]], "nothing beyond the training rows"


@pytest.mark.parametrize("name", SCALINGS)
def test_prediction_intervals_cover_new_rows(name: str) -> None:
    task = task_of(name)
    fitted = task.fit_calibration(*draw(task, 1000, seed=1))
    n_rows = 4000
    predictions, labels = draw(task, n_rows, seed=2)
    found = task.calibrate(predictions, labels, fitted)
    # The share of 1,000 rows varies too: both together, as a beta-binomial distribution.
    spread = np.sqrt(0.9 * 0.1 * (1 / n_rows + 1 / 1000))
    assert abs(found.described["coverage"] - 0.9) < 4 * spread
    ends, true = (
        task.answer(predictions, fitted),
        Unscale(task.scaling)(torch.tensor(labels).double()).numpy(),
    )
    inside = (ends[:, 1] <= true * (1 + 1e-6)) & (true * (1 - 1e-6) <= ends[:, 2])
    assert inside.mean() == pytest.approx(found.described["coverage"], abs=2e-3)
    assert (ends[:, 1] <= ends[:, 0]).all()
    assert (ends[:, 0] <= ends[:, 2]).all()
    low, high = found.described["coverage_interval"]
    assert low < found.described["coverage"] < high
    # The graph of a bundle ends with the same.
    outputs = torch.tensor(task.scaling.apply(predictions[:, :1])[0])
    np.testing.assert_allclose(task.answer_module(fitted)(outputs).numpy(), ends, rtol=1e-9)
    assert task.read_calibration(found.report()) == fitted


@pytest.mark.parametrize("n_rows", [1, 5, 9, 10, 200])
def test_half_width_is_an_order_statistic(n_rows: int) -> None:
    task = number_task(kind="affine", method="z_score", center=0.0, scale=1.0)
    errors = np.random.default_rng(n_rows).permutation(n_rows) + 1.0
    found = task.fit_calibration(errors[:, None], np.zeros(n_rows, np.float32))["half_width"]
    # Of n + 1 rows at least 0.9 have no larger error: by an exhaustive search.
    enough = [k for k in range(1, n_rows + 1) if k >= 0.9 * (n_rows + 1)]
    assert found == (enough[0] if enough else n_rows)


def test_members_are_averaged_and_weighed() -> None:
    task = task_of("z_score")
    outputs = torch.tensor([[[1.0], [3.0], [8.0]]])
    assert task.average(outputs, None).tolist() == [[4.0]]
    assert task.average(outputs, torch.tensor([0.5, 0.5, 0.0])).tolist() == [[2.0]]
    likelihoods = task.likelihoods(outputs, torch.tensor([3.5]))
    assert likelihoods.tolist() == pytest.approx([np.exp(-(0.5**2) / 2)])
    # Of the better of two nets, squared errors are 1 on average.
    errors = torch.tensor(np.random.default_rng(0).normal(0, [0.1, 0.3], (500, 2)))
    tempered = task.temper((-errors.square() / 2).exp())
    assert float((-2 * tempered[:, 0].log()).mean()) == pytest.approx(1)


def test_class_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="model.class_weights must be none for a numeric target"):
        task_of("log1p").class_weights("balanced", counts_of="train")


def test_plots_are_drawn() -> None:
    task = task_of("quantile_normal")
    predictions, labels = draw(task, 300, seed=0)
    [figure] = task.draw(predictions, labels, title="test").values()
    assert len(figure.axes) == 3
    found = task.calibrate(predictions, labels, task.fit_calibration(predictions, labels))
    line = task.draw_calibration(found, title="test").axes[0].get_lines()[1].get_ydata()
    assert np.mean(line) == pytest.approx(found.described["coverage"], abs=0.02)
    assert binom.cdf(round(found.described["coverage"] * 300), 300, 0.9) > 1e-6


def test_labels_beyond_the_training_rows_stay_what_they_are() -> None:
    task = task_of("quantile_normal")
    values = np.array([VALUES[0] - 50.0, VALUES[7], VALUES[-1] * 3])
    scaled = scale_target(task.scaling, values).astype(np.float32)
    np.testing.assert_allclose(task.true_values(scaled), values, rtol=1e-4)
    found = task.score(values[:, None], scaled)
    assert found.report()["rmse"] < 1e-3 * VALUES[-1]
    predicted = np.full((3, 1), VALUES[7])
    assert task.score(predicted, scaled).report()["mae"] == pytest.approx(
        np.abs(values - VALUES[7]).mean(), rel=1e-4
    )
    # Beyond them, an interval of that width does not reach.
    found = task.calibrate(predicted, scaled, {"half_width": 0.1}).report()
    ends = task.answer(predicted, {"half_width": 0.1})
    assert found["coverage"] == task.score_answers(ends, values)["coverage"] == pytest.approx(1 / 3)


def test_zero_is_one_after_the_scaling() -> None:
    task = number_task(kind="affine", method="z_score", center=12.3, scale=7.7)
    assert isinstance(task, Regression)
    labels = scale_target(task.scaling, np.array([0.0, 3.0, 7.0])).astype(np.float32)
    assert "mape" not in task.score(np.array([[1.0], [2.0], [3.0]]), labels).report()


@pytest.mark.parametrize("n_rows", [1, 40])
def test_one_row_and_equal_rows_are_scored_and_drawn(n_rows: int) -> None:
    task = task_of("z_score")
    predictions, labels = np.full((n_rows, 1), 1e30), np.zeros(n_rows, np.float32)
    scores = task.score(predictions, labels)
    assert all(map(np.isfinite, scores.summary().values()))
    task.draw(predictions, labels, title="test")
    with pytest.raises(ValueError, match="row to score must have a weight above 0"):
        task.score(predictions, labels, np.zeros(n_rows, np.float32))


def test_losses_of_the_other_kind_of_target_are_refused() -> None:
    with pytest.raises(ValueError, match="model.loss must be one of numbers"):
        task_of("z_score").check_loss(torch.nn.functional.cross_entropy)
    with pytest.raises(ValueError, match="model.loss must take logits and classes"):
        class_task("a", "b").check_loss(torch.nn.functional.huber_loss)
    for loss in (torch.nn.functional.huber_loss, torch.nn.functional.l1_loss):
        task_of("z_score").check_loss(loss)


def test_ranges_of_near_numbers_have_names_of_their_own() -> None:
    codes, names = number_ranges(1.6e9 + 0.37 * np.arange(300))
    assert len(names) == len(np.unique(codes)) == 6

import numpy as np
import pytest

from canopy.explore.plots import LEFT, N_BINS, RIGHT, class_densities, draw_ridgelines


def test_densities_of_each_class_add_up_to_1():
    generator = np.random.default_rng(0)
    codes = np.repeat([0, 1], [5000, 200])
    values = generator.normal(codes * 3.0, 1.0)
    values[::100] = np.nan
    edges, densities, medians = class_densities(values, codes, 3)
    areas = (densities * np.diff(edges)).sum(axis=1)
    np.testing.assert_allclose(areas[:2], 1, atol=0.02)
    assert areas[2] == 0
    np.testing.assert_allclose(medians[:2], [0, 3], atol=0.2)
    assert np.isnan(medians[2])
    assert len(edges) == N_BINS + 1


@pytest.mark.parametrize("values", [1e15 + np.array([0.25, 0.5]), np.full(5, 7.0), np.full(5, 0.3)])
def test_values_that_hardly_differ_can_be_drawn(values: np.ndarray):
    edges, densities, medians = class_densities(values, np.zeros(len(values), dtype=np.int64), 1)
    assert np.isfinite(edges).all()
    assert densities.sum() > 0
    assert LEFT <= draw_ridgelines(edges, densities, medians)["ridges"][0]["median"] <= RIGHT


def test_bins_include_the_highest_value_and_hold_whole_numbers():
    _, densities, _ = class_densities(np.repeat([1.5, 9.5], [2, 8]), np.zeros(10, dtype=np.int64), 1)
    assert densities[0].argmax() == N_BINS - 1
    values = np.tile(np.arange(40.0), 20)
    edges, densities, _ = class_densities(values, np.zeros(800, dtype=np.int64), 1)
    np.testing.assert_allclose(edges, np.arange(41) - 0.5)
    # Equally frequent numbers leave no comb.
    np.testing.assert_allclose(densities, 1 / 40)


def test_ridges_stay_in_the_plot_and_an_empty_class_has_none():
    values = np.concatenate([np.linspace(0, 1, 100), np.full(100, 0.5)])
    plot = draw_ridgelines(*class_densities(values, np.repeat([0, 1], 100), 3))
    _, ridge, empty = plot["ridges"]
    assert [bool(ridge["path"]) for ridge in plot["ridges"]] == [True, True, False]
    assert np.isnan(empty["median"])
    points = ridge["path"].strip("MZ").replace("L", "").split()
    xs, ys = np.array([point.split(",") for point in points], dtype=float).T
    assert xs.min() == plot["left"]
    assert xs.max() == plot["right"]
    assert ys.min() >= 0
    assert ys.max() == ridge["baseline"]
    assert [text for _, text in plot["ticks"]] == ["0.2", "0.4", "0.6", "0.8"]

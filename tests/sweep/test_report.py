import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from canopy.sweep.loading import load_sweep
from canopy.sweep.report import draw_plots, write_report

Make = Callable[..., Any]
LR, DROPOUT = "model.optimizer.lr", "model.net.dropout"


def render_report(sweep: Any, folder: Path) -> str:
    write_report(sweep, folder / "report.html")
    return (folder / "report.html").read_text()


def titles(url: str) -> list[str]:
    return [figure.layout.title.text for figure in draw_plots(load_sweep("a", url))]


def test_a_sweep_with_trials_in_every_state_has_all_plots(mixed: str) -> None:
    assert titles(mixed) == [
        "Optimization History Plot",
        "Hyperparameter Importances",
        "Slice Plot",
        "Parallel Coordinate Plot",
        "Intermediate Values Plot",
        "Timeline Plot",
    ]


def test_the_page_has_plotly_once_and_loads_nothing(mixed: str, tmp_path: Path) -> None:
    text = render_report(load_sweep("a", mixed), tmp_path)
    assert text.count("* plotly.js v") == 1
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", text)
    assert "Best val/accuracy 0.75, trial 1:" in text


def test_a_text_cannot_end_a_script(url: str, tmp_path: Path, make_study: Make, add_trial: Make) -> None:
    study = make_study(url, "</script><b>x", monitor=("</script><i>y",))
    for value in (0.5, 0.75):
        add_trial(study, value, curve=(value, value))
    text = render_report(load_sweep("</script><b>x", url), tmp_path)
    assert "</script><" not in text.replace("</script></head>", "")
    assert "&lt;/script&gt;&lt;b&gt;x" in text


def test_a_sweep_that_has_not_begun_says_so(
    url: str, tmp_path: Path, make_study: Make, add_trial: Make
) -> None:
    add_trial(make_study(url), state=TrialState.WAITING, params={})
    assert "No trial is complete yet." in render_report(load_sweep("a", url), tmp_path)


@pytest.mark.parametrize(
    ("params", "values"),
    [({LR: 0.01}, (0.5, 0.75)), ({LR: 0.01, DROPOUT: 0.0}, (0.5, 0.5)), ({}, (0.5, 0.75))],
)
def test_importance_is_left_out_where_it_means_nothing(
    url: str, make_study: Make, add_trial: Make, params: dict[str, float], values: tuple[float, ...]
) -> None:
    study = make_study(url)
    for value in values:
        add_trial(study, value, params=params)
    assert "Hyperparameter Importances" not in titles(url)


@pytest.mark.parametrize("sign", [1, -1])
def test_importance_asks_what_makes_each_objective_good(
    url: str, make_study: Make, add_trial: Make, sign: int
) -> None:
    study = make_study(
        url, directions=("maximize" if sign > 0 else "minimize", "minimize"), monitor=("x", "y")
    )
    for i in range(40):
        # High values of x hang on the rate alone; that they are high on the drop-out too is a coincidence.
        lr, dropout = 1e-4 * 10 ** (i % 8 / 4), (i * 7 % 40) / 80
        add_trial(study, (sign * (i % 8), float(i)), params={LR: lr, DROPOUT: dropout})
    figures = [*draw_plots(load_sweep("a", url))]
    first = next(figure for figure in figures if "Importances" in figure.layout.title.text)
    (bars,) = first.data
    assert bars.y[-1] == LR
    assert bars.x[-1] > 0.5


def test_several_objectives_get_a_front_and_a_plot_each(url: str, make_study: Make, add_trial: Make) -> None:
    study = make_study(url, directions=("maximize", "minimize"), monitor=("val/accuracy", "x"))
    for i, values in enumerate(((0.5, 2.0), (0.75, 3.0), (0.5, 3.0))):
        add_trial(study, values, params={LR: 0.01 * (i + 1)})
    found = titles(url)
    assert found[0] == "Pareto-front Plot"
    assert found.count("Optimization History Plot") == found.count("Slice Plot") == 2


def test_the_page_is_written_whole(mixed: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(load_sweep("a", mixed), path)
    assert path.read_text().rstrip().endswith("</html>")
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]

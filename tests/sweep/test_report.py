import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from canopy.sweep.figures import draw_importances, draw_timeline
from canopy.sweep.loading import load_sweep
from canopy.sweep.report import render_report, write_report

Make = Callable[..., Any]
LR, DROPOUT, MODEL = "model.optimizer.lr", "model.net.dropout", "model"


class Page(HTMLParser):
    """What a page consists of and would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.figures: dict[str, Any] = {}
        self.loaded: list[str] = []
        self.texts: list[str] = []
        self.policy = ""
        self._figure: str | None = None
        self._raw = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.ids += [value for key, value in attrs if key == "id" and value]
        self.loaded += [str(value) for key, value in attrs if key in {"src", "srcset", "data", "action"}]
        self.loaded += [str(attributes["href"])] if "href" in attributes else []
        self.policy += attributes.get("content") or "" if "http-equiv" in attributes else ""
        self._raw = tag in {"script", "style"}
        self._figure = attributes.get("data-figure")

    def handle_endtag(self, tag: str) -> None:
        self._raw, self._figure = False, None

    def handle_data(self, data: str) -> None:
        if self._figure:
            self.figures[self._figure] = json.loads(data)
        elif not self._raw:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def page(mixed: str) -> Page:
    return Page(render_report(load_sweep("a", mixed)))


def test_every_plot_has_its_place(page: Page) -> None:
    assert set(page.figures) == {
        "figure-history-0",
        "figure-importances-0",
        "figure-slice-0-0",
        "figure-slice-0-1",
        "figure-parallel",
        "figure-intermediate",
        "figure-timeline",
    }
    assert page.figures.keys() <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert all(figure["data"] for figure in page.figures.values())


def test_nothing_is_loaded_from_elsewhere(page: Page) -> None:
    assert all(re.match(r"#|data:", address) for address in page.loaded)
    assert page.policy.startswith("default-src 'none'")
    assert "http" not in page.policy


def test_plotly_is_there_once(mixed: str) -> None:
    text = render_report(load_sweep("a", mixed))
    assert text.count("* plotly.js v") == 1
    assert "showSendToCloud: false" in text


def test_the_page_tells_state_and_best_trial(page: Page) -> None:
    for told in (
        "Maximizes val/accuracy; 2 parameters varied.",
        "Best val/accuracy 0.75 trial 1",
        "Trials 6 2 complete",
        "Trial 1: val/accuracy 0.75",
        "model.optimizer.lr 0.01 0.0001 to 0.1, log scale",
        "python src/train.py model.optimizer.lr=0.01 model.net.dropout=0.0",
        "by PED-ANOVA",
        "ValueError: no <b>loss</b>",
        "repeats 3",
    ):
        assert told in page.text, told
    assert "Not shown yet" not in page.text


def test_figures_show_what_was_recorded(page: Page) -> None:
    dots, best = page.figures["figure-history-0"]["data"][:2]
    assert (dots["x"], dots["y"]) == ([0, 1], [0.5, 0.75])
    assert (best["name"], best["y"][:2]) == ("best so far", [0.5, 0.75])
    curves = {trace["name"]: trace["y"] for trace in page.figures["figure-intermediate"]["data"]}
    assert curves["trial 1, best"] == [0.5, 0.75]
    assert curves["trial 2, pruned"] == [0.125]
    shown = {trace["name"]: trace["y"] for trace in page.figures["figure-timeline"]["data"]}
    # The trial that was never run is not among the failed ones.
    assert shown == {"complete": [0, 1], "failed": [3], "pruned": [2], "running": [5], "waiting": [6]}
    assert page.figures["figure-parallel"]["layout"]["xaxis"]["ticktext"] == ["val/accuracy", "dropout", "lr"]


def test_a_text_cannot_end_a_script(url: str, make_study: Make, add_trial: Make) -> None:
    study = make_study(url, "</script><b>x", monitor=("</script><i>y",))
    for value in (0.5, 0.75):
        add_trial(study, value, curve=(value, value))
    page = Page(render_report(load_sweep("</script><b>x", url)))
    assert page.figures["figure-history-0"]["layout"]["yaxis"]["title"]["text"] == "</script><i>y"


def test_what_has_too_little_data_is_named_instead(url: str, make_study: Make, add_trial: Make) -> None:
    study = make_study(url)
    add_trial(study, state=TrialState.WAITING, params={})
    page = Page(render_report(load_sweep("a", url)))
    assert page.figures == {}
    for told in (
        "No trial is complete yet.",
        "The history needs a complete trial.",
        "The importance of parameters needs 2 complete trials (there are 0).",
        "Values over each parameter need 2 complete trials (there are 0).",
        "Parallel coordinates need 2 complete trials (there are 0).",
        "Curves need a trial with two validations.",
        "The timeline needs a trial that was started.",
    ):
        assert told in page.text, told


@pytest.mark.parametrize(
    ("params", "values", "missing"),
    [
        ({LR: 0.01}, (0.5, 0.75), "needs 2 parameters (the sweep varies 1)."),
        ({LR: 0.01, DROPOUT: 0.0}, (0.5, 0.5), "needs trials with different values."),
        ({LR: 0.01, DROPOUT: 0.0}, (0.5, float("inf")), "needs 2 complete trials (there is 1)."),
    ],
)
def test_importance_is_left_out_where_it_means_nothing(
    url: str,
    make_study: Make,
    add_trial: Make,
    params: dict[str, float],
    values: tuple[float, ...],
    missing: str,
) -> None:
    study = make_study(url)
    for value in values:
        add_trial(study, value, params=params)
    (plot,) = draw_importances(load_sweep("a", url))
    assert plot.content is None
    assert plot.missing == f"The importance of parameters {missing}"


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
    first, _ = draw_importances(load_sweep("a", url))
    assert first.content is not None
    (bars,) = first.content["data"]
    assert bars["y"][-1] == LR
    assert bars["x"][-1] > 0.5


def test_several_objectives_get_a_front_and_a_plot_each(url: str, make_study: Make, add_trial: Make) -> None:
    study = make_study(url, directions=("maximize", "minimize"), monitor=("val/accuracy", "x"))
    for i, values in enumerate(((0.5, 2.0), (0.75, 3.0), (0.5, 3.0))):
        add_trial(study, values, params={LR: 0.01 * (i + 1), MODEL: "mlp"})
    page = Page(render_report(load_sweep("a", url)))
    assert {"figure-pareto", "figure-history-0", "figure-history-1", "figure-slice-1-1"} <= set(page.figures)
    rest, front = page.figures["figure-pareto"]["data"]
    assert (rest["x"], front["x"], front["y"]) == ([0.5], [0.5, 0.75], [2.0, 3.0])
    assert page.figures["figure-slice-0-1"]["layout"]["xaxis"]["ticktext"] == ["mlp", "mlp_periodic"]
    assert page.figures["figure-parallel"]["layout"]["xaxis"]["ticktext"] == [
        "val/accuracy",
        "x",
        "model",
        "lr",
    ]
    assert "Pareto front 2 trials" in page.text


def test_a_front_of_four_objectives_is_not_drawn(url: str, make_study: Make, add_trial: Make) -> None:
    add_trial(make_study(url, directions=("minimize",) * 4, monitor=None), (1.0, 2.0, 3.0, 4.0))
    assert "can be drawn for 2 or 3 objectives, not for 4." in Page(render_report(load_sweep("a", url))).text


def test_a_surplus_trial_before_others_moves_nothing(url: str, make_study: Make, add_trial: Make) -> None:
    study = make_study(url)
    add_trial(study, state=TrialState.FAIL, params={}, surplus=True)
    for value in (0.5, 0.75):
        add_trial(study, value)
    sweep = load_sweep("a", url)
    page = Page(render_report(sweep))
    dots = page.figures["figure-history-0"]["data"][0]
    assert (dots["x"], dots["y"]) == ([1, 2], [0.5, 0.75])
    (timeline,) = draw_timeline(sweep)
    assert timeline.content is not None
    assert [trace["y"] for trace in timeline.content["data"]] == [[1, 2]]


def test_the_page_is_written_whole(mixed: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(load_sweep("a", mixed), path)
    assert path.read_text().rstrip().endswith("</html>")
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]

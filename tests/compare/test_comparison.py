import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from canopy.compare.comparison import compare, write_report
from canopy.runs.differences import Difference, find_differences
from canopy.runs.run import Run
from canopy.text_tables import as_json

Make = Callable[..., Any]
LABELS = np.repeat([0, 1, 2], [60, 30, 10])


def test_differences_name_what_differs(make_run: Make) -> None:
    a = make_run("a")
    b = make_run(
        "b",
        lr=0.02,
        git={"commit": "f" * 40, "dirty": True},
        data={"test.pt": "0" * 64},
        packages={"torch": "2.14.0", "scipy": "1.17.1"},
        machine={"python": "3.11.7", "n_threads": 4, "gpus": []},
    )
    groups = ("config", "code", "data", "packages", "machine")
    assert find_differences(a, a) == {group: [] for group in groups}
    assert find_differences(a, b) == {
        # The scheduler's rate follows by interpolation.
        "config": [Difference("model.optimizer.lr", 0.01, 0.02)],
        "code": [Difference("commit", "c" * 40, "f" * 40), Difference("dirty", a=False, b=True)],
        "data": [Difference("test.pt", "d" * 64, "0" * 64)],
        "packages": [
            Difference("torch", "2.13.0", "2.14.0"),
            Difference("numpy", "2.4.6", None),
            Difference("scipy", None, "1.17.1"),
        ],
        "machine": [Difference("n_threads", 2, 4)],
    }


def test_differences_include_uncommitted_changes(make_run: Make) -> None:
    runs = [make_run(name, git={"commit": "c" * 40, "dirty": True}) for name in "ab"]
    for run in runs:
        (run.path / "git.diff").write_text(run.name)
    assert [item.key for item in find_differences(*runs)["code"]] == ["uncommitted changes"]


@pytest.fixture
def pair(make_run: Make, evaluate: Make) -> tuple[Run, Run]:
    """A run that misses half of the small classes, and a better one that misses one row."""
    a, b = make_run("a", score=0.75), make_run("b", lr=0.02, score=0.9375)
    worse, better = LABELS.copy(), LABELS.copy()
    worse[60:75] = 0
    worse[90:95] = 1
    better[0] = 2
    evaluate(a, LABELS, worse)
    evaluate(b, LABELS, better)
    return a, b


def test_comparison_calls_a_clearly_better_run_better(pair: tuple[Run, Run]) -> None:
    a, b = pair
    content = json.loads(as_json(compare(a, b, split="test")))
    assert content["metrics"]["accuracy"] == {"a": 0.8, "b": 0.99, "change": pytest.approx(0.19)}
    assert content["metrics"]["best.score"]["change"] == 0.1875
    pear = content["per_class"]["Pear"]
    assert (pear["support"], pear["recall_a"], pear["recall_b"]) == (30, 0.5, 1.0)
    assert content["significance"]["n_only_b"] == 20
    assert content["verdict"].startswith("B is better than A: accuracy +0.19")
    back = compare(b, a, split="test")
    assert back["metrics"]["macro_f1"]["change"] == -content["metrics"]["macro_f1"]["change"]
    assert back["verdict"].startswith("A is better than B: accuracy +0.19")


def test_report_ends_in_the_verdict(pair: tuple[Run, Run]) -> None:
    lines = write_report(*pair, compare(*pair, split="test")).splitlines()
    assert all(len(line) <= 120 for line in lines[:-1])
    assert "  model.optimizer.lr  0.01  0.02" in lines
    assert "The same code, data, packages, machine" in lines
    assert "  accuracy                0.8000  0.9900  +0.1900" in lines
    assert "  Pear           30    0.5000    1.0000  +0.5000  0.6000  1.0000  +0.4000" in lines
    assert lines[-1].startswith("B is better than A: accuracy +0.19")


def test_comparison_names_the_command_that_evaluates(pair: tuple[Run, Run], make_run: Make) -> None:
    other = make_run("c")
    message = f'on its test rows; found no test in .*: run "python src/evaluate.py run={other.path}"'
    with pytest.raises(FileNotFoundError, match=message):
        compare(pair[0], other, split="test")
    with pytest.raises(FileNotFoundError, match="must be evaluated on its val rows"):
        compare(*pair, split="val")
    (pair[0].path / "evaluation/predictions_test.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="found no .*predictions_test.parquet"):
        compare(*pair, split="test")


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        (LABELS[:-1], "Apple Pear Plum/Damson", "100 and 99 rows in"),
        (LABELS[::-1], "Apple Pear Plum/Damson", "80 of 100 rows with another label in"),
        (LABELS, "Apple Pear Quince", "the classes Apple, Pear, Plum/Damson and Apple, Pear, Quince"),
    ],
)
def test_comparison_refuses_other_rows(
    pair: tuple[Run, Run], make_run: Make, evaluate: Make, labels: Any, names: str, message: str
) -> None:
    other = make_run("c")
    evaluate(other, labels, labels, names=names)
    with pytest.raises(ValueError, match=f"evaluated on the same rows to be compared; found {message}"):
        compare(pair[0], other, split="test")


def test_comparison_refuses_predictions_of_another_evaluation(pair: tuple[Run, Run], evaluate: Make) -> None:
    a, b = pair
    metrics = a.path / "evaluation/metrics.json"
    kept = metrics.read_text()
    evaluate(a, LABELS, LABELS)
    metrics.write_text(kept)
    with pytest.raises(ValueError, match=r"accuracy 0.800000; found 100 rows with accuracy 1.000000"):
        compare(a, b, split="test")


def test_comparison_refuses_damaged_files(pair: tuple[Run, Run]) -> None:
    a, b = pair
    predictions = b.path / "evaluation/predictions_test.parquet"
    pd.DataFrame({"label": LABELS}).to_parquet(predictions)
    with pytest.raises(ValueError, match="must hold label, predicted and the scores; found .*predicted"):
        compare(a, b, split="test")
    predictions.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match='label, predicted and the scores; .* run "python src/evaluate'):
        compare(a, b, split="test")
    for name in ("config.yaml", "run.json", "evaluation/metrics.json"):
        whole = (b.path / name).read_text()
        (b.path / name).write_text("{")
        with pytest.raises(ValueError, match=f"must be complete; found .*{name} cannot be used"):
            compare(a, Run(b.path), split="test")
        (b.path / name).write_text(whole)

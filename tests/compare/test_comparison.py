import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from canopy.compare.comparison import compare
from canopy.compare.report import write_report
from canopy.runs.differences import Difference, find_differences
from canopy.runs.listed import ListedRun

Make = Callable[..., Any]
LABELS = np.repeat([0, 1, 2], [60, 30, 10])


def test_only_differences_are_named(make_listed: Make) -> None:
    a = make_listed("a", packages={"torch": "2.13.0", "numpy": "2.4.6"})
    b = make_listed(
        "b",
        lr=0.02,
        git={"commit": "f" * 40, "dirty": True},
        data={"test.pt": "0" * 64},
        packages={"torch": "2.14.0", "scipy": "1.17.1"},
        machine={"python": "3.11.7", "n_threads": 4, "gpus": []},
    )
    assert find_differences(a, a) == {
        group: [] for group in ("config", "code", "data", "packages", "machine")
    }
    found = find_differences(a, b)
    # The scheduler's rate follows by interpolation.
    assert found["config"] == [Difference(key="model.optimizer.lr", a=0.01, b=0.02)]
    assert [item.key for item in found["code"]] == ["commit", "dirty"]
    assert found["data"] == [Difference(key="test.pt", a="d" * 64, b="0" * 64)]
    assert found["packages"] == [
        Difference(key="torch", a="2.13.0", b="2.14.0"),
        Difference(key="numpy", a="2.4.6", b=None),
        Difference(key="scipy", a=None, b="1.17.1"),
    ]
    assert found["machine"] == [Difference(key="n_threads", a=2, b=4)]


def test_uncommitted_changes_are_compared(make_listed: Make) -> None:
    git = {"commit": "c" * 40, "dirty": True}
    a, b = make_listed("a", git=git), make_listed("b", git=git)
    for run, text in ((a, "+1"), (b, "+2")):
        (run.path / "git.diff").write_text(text)
    assert [item.key for item in find_differences(a, b)["code"]] == ["uncommitted changes"]


@pytest.fixture
def pair(make_listed: Make, evaluate: Make) -> tuple[ListedRun, ListedRun]:
    """A run that misses half of the small classes, and a better one that misses one row."""
    a, b = make_listed("a", score=0.75), make_listed("b", lr=0.02, score=0.9375)
    worse, better = LABELS.copy(), LABELS.copy()
    worse[60:75] = 0
    worse[90:95] = 1
    better[0] = 2
    evaluate(a.path, LABELS, worse)
    evaluate(b.path, LABELS, better)
    return a, b


def test_a_clearly_better_run_is_called_better(pair: tuple[ListedRun, ListedRun]) -> None:
    a, b = pair
    content = json.loads(compare(a, b, split="test").json())
    assert content["metrics"]["accuracy"] == {"a": 0.8, "b": 0.99, "change": pytest.approx(0.19)}
    assert content["metrics"]["best.score"]["change"] == 0.1875
    pear = content["per_class"]["Pear"]
    assert (pear["support"], pear["recall_a"], pear["recall_b"]) == (30, 0.5, 1.0)
    assert content["significance"]["n_only_b"] == 20
    assert content["verdict"].startswith("B is better than A: accuracy +0.19")
    back = json.loads(compare(b, a, split="test").json())
    assert back["metrics"]["macro_f1"]["change"] == -content["metrics"]["macro_f1"]["change"]
    assert back["verdict"].startswith("A is better than B: accuracy +0.19")


def test_the_report_ends_in_the_verdict(pair: tuple[ListedRun, ListedRun]) -> None:
    lines = write_report(compare(*pair, split="test")).splitlines()
    assert all(len(line) <= 120 for line in lines[:-1])
    assert "  model.optimizer.lr  0.01  0.02" in lines
    assert "The same code, data, packages, machine" in lines
    assert "  accuracy                0.8000  0.9900  +0.1900" in lines
    assert "  Pear           30    0.5000    1.0000  +0.5000  0.6000  1.0000  +0.4000" in lines
    assert lines[-1].startswith("B is better than A: accuracy +0.19")


def test_identical_runs_are_not_distinguishable(pair: tuple[ListedRun, ListedRun]) -> None:
    assert write_report(compare(pair[0], pair[0], split="test")).endswith(
        "A and B are not distinguishable: they predict the same class for each of the 100 test rows"
    )


def test_a_run_that_is_not_evaluated_names_the_command(
    pair: tuple[ListedRun, ListedRun], make_listed: Make
) -> None:
    other = make_listed("c")
    hint = f'run "python src/evaluate.py run={other.path}" first'
    with pytest.raises(
        FileNotFoundError, match="must be evaluated on its test rows; found no test in"
    ) as found:
        compare(pair[0], other, split="test")
    assert hint in str(found.value)
    with pytest.raises(FileNotFoundError, match="must be evaluated on its val rows"):
        compare(*pair, split="val")
    (pair[0].path / "evaluation/predictions_test.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="found no .*predictions_test.parquet"):
        compare(*pair, split="test")


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        (LABELS[:-1], ("Apple", "Pear", "Plum/Damson"), "found 100 and 99 rows in"),
        (LABELS[::-1], ("Apple", "Pear", "Plum/Damson"), "found 80 of 100 rows with another label in"),
        (
            LABELS,
            ("Apple", "Pear", "Quince"),
            "found the classes Apple, Pear, Plum/Damson and Apple, Pear, Quince",
        ),
    ],
)
def test_other_rows_are_refused(
    pair: tuple[ListedRun, ListedRun],
    make_listed: Make,
    evaluate: Make,
    labels: Any,
    names: tuple[str, ...],
    message: str,
) -> None:
    other = make_listed("c")
    evaluate(other.path, labels, labels, names=names)
    with pytest.raises(ValueError, match=f"must be evaluated on the same rows to be compared; {message}"):
        compare(pair[0], other, split="test")


def test_predictions_of_another_evaluation_are_refused(
    pair: tuple[ListedRun, ListedRun], evaluate: Make
) -> None:
    a, _ = pair
    kept = (a.path / "evaluation/metrics.json").read_text()
    evaluate(a.path, LABELS, LABELS)
    (a.path / "evaluation/metrics.json").write_text(kept)
    with pytest.raises(
        ValueError, match=r"100 rows with accuracy 0.800000; found 100 rows with accuracy 1.000000"
    ):
        compare(ListedRun(a.path, "a"), pair[1], split="test")


def test_damaged_files_are_told(pair: tuple[ListedRun, ListedRun]) -> None:
    a, b = pair
    predictions = b.path / "evaluation/predictions_test.parquet"
    pa.parquet.write_table(pa.table({"label": LABELS}), predictions)
    with pytest.raises(ValueError, match="must hold label, predicted and the scores; found .*predicted"):
        compare(a, b, split="test")
    predictions.write_bytes(b"PAR1")
    with pytest.raises(
        ValueError, match='must hold label, predicted and the scores; .* run "python src/evaluate'
    ):
        compare(a, b, split="test")
    for name in ("config.yaml", "run.json", "evaluation/metrics.json"):
        whole = (b.path / name).read_text()
        (b.path / name).write_text("{")
        with pytest.raises(ValueError, match=f"must be complete; found .*{Path(name).name} cannot be used"):
            compare(a, ListedRun(b.path, "b"), split="test")
        (b.path / name).write_text(whole)

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from canopy.compare.comparison import compare, write_report
from canopy.runs.differences import Difference, find_differences
from canopy.runs.run import Run
from canopy.text_tables import as_json
from packages import ROOT

Make, Pair = Callable[..., Any], tuple[Run, Run]
LABELS = np.repeat([0, 1, 2], [60, 30, 10])


def test_differences_name_what_differs(make_run: Make) -> None:
    a = make_run("a", git={"commit": "c" * 40, "dirty": True})
    changes = {
        "git": {"commit": "f" * 40, "dirty": True},
        "data": {"test/00000.pt": "0" * 64},
        "packages": {"torch": "2.14.0", "scipy": "1.17.1"},
        "machine": {"python": "3.11.7", "n_threads": 4, "gpus": []},
    }
    b = make_run("b", lr=0.02, **changes)
    for run in (a, b):
        (run.path / "git.diff").write_text("the same")
    assert not any(find_differences(a, a).values())
    packages = [("torch", "2.13.0", "2.14.0"), ("numpy", "2.4.6", None), ("scipy", None, "1.17.1")]
    assert find_differences(a, b) == {
        # The scheduler's rate follows by interpolation.
        "config": [Difference("model.optimizer.lr", 0.01, 0.02)],
        "code": [Difference("commit", "c" * 40, "f" * 40)],
        "data": [Difference("test/00000.pt", "d" * 64, "0" * 64)],
        "packages": [Difference(*texts) for texts in packages],
        "machine": [Difference("n_threads", 2, 4)],
    }
    (a.path / "git.diff").write_text("another")
    assert [item.key for item in find_differences(a, b)["code"]] == ["commit", "uncommitted changes"]


@pytest.fixture
def pair(make_run: Make, evaluate: Make) -> Pair:
    """A run that misses half of the small classes, and a better one that misses one row."""
    a, b = make_run("a", score=0.75), make_run("b", lr=0.02, score=0.9375, git={"commit": "f" * 40})
    worse, better = LABELS.copy(), LABELS.copy()
    worse[60:75], worse[90:95], better[0] = 0, 1, 2
    evaluate(a, LABELS, worse)
    evaluate(b, LABELS, better)
    return a, b


def test_comparison_calls_a_clearly_better_run_better(pair: Pair) -> None:
    a, b = pair
    content = json.loads(as_json(compare(a, b, split="test")))
    assert content["metrics"]["accuracy"] == {"a": 0.8, "b": 0.99, "change": pytest.approx(0.19)}
    assert content["metrics"]["best.score"]["change"] == 0.1875
    assert content["metrics"]["per_class.Pear.recall"] == {"a": 0.5, "b": 1.0, "change": 0.5}
    assert content["significance"]["n_only_b"] == 20
    back = compare(b, a, split="test")
    assert back["metrics"]["macro_f1"]["change"] == -content["metrics"]["macro_f1"]["change"]
    assert back["verdict"].startswith("A is better than B; B - A: accuracy -0.19")


def test_report_ends_in_the_verdict(pair: Pair) -> None:
    lines = write_report(*pair, compare(*pair, split="test")).splitlines()
    assert all(len(line) <= 120 for line in lines[:-1])
    differences = {"  model.optimizer.lr  0.01  0.02", f"  commit  {'c' * 12}  {'f' * 12}"}
    assert differences | {"The same data, packages, machine"} <= {*lines}
    assert "accuracy 0.8000 0.9900 +0.1900" in [" ".join(line.split()) for line in lines]
    assert lines[-1].startswith("B is better than A; B - A: accuracy +0.19")


def test_comparison_names_the_command_that_evaluates(pair: Pair, make_run: Make) -> None:
    other = make_run("c")
    with pytest.raises(FileNotFoundError, match=f'test rows; .* "python src/evaluate.py run={other.path}'):
        compare(pair[0], other, split="test")


def test_comparison_refuses_other_rows(pair: Pair, make_run: Make, evaluate: Make) -> None:
    other = make_run("c")
    for labels, third in ((LABELS[:-1], "Plum/Damson"), (LABELS[::-1], "Plum/Damson"), (LABELS, "Quince")):
        evaluate(other, labels, labels, names=f"Apple Pear {third}")
        with pytest.raises(ValueError, match="must be evaluated on the same rows and classes to be compared"):
            compare(pair[0], Run(other.path), split="test")


def test_comparison_refuses_damaged_files(pair: Pair) -> None:
    for name, content, message in (
        ("config.yaml", "{", "must be complete; found .*config.yaml cannot be used"),
        ("run.json", "{", "must be complete; found .*run.json cannot be used"),
        ("evaluation/metrics.json", "{", "must be complete; found .*metrics.json cannot be used"),
        ("evaluation/metrics.json", '{"test": 1}', "must be evaluated on its test rows"),
        ("evaluation/predictions_test.parquet", "{", "predictions_test.parquet cannot be used"),
    ):
        whole = (pair[1].path / name).read_bytes()
        (pair[1].path / name).write_text(content)
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            compare(pair[0], Run(pair[1].path), split="test")
        (pair[1].path / name).write_bytes(whole)


def test_command_takes_names(pair: Pair, command: Make, logs: Path) -> None:
    out, *_ = command(f"compare b a --logs {logs}")
    assert out.splitlines()[-1].startswith("A is better than B; B - A: accuracy -0.19")
    out, err, code = command(f"compare a b --split val --logs {logs}")
    assert (out, err, "\n" in code) == ("", "", False)
    assert code.startswith("Error: A run to compare must be evaluated on its val rows")


@pytest.mark.usefixtures("pair")
def test_commands_do_not_import_torch(logs: Path) -> None:
    code = (
        "import runpy, sys\nfor words in ('runs', 'runs --summary', 'compare a b'):\n"
        f"    sys.argv = [*words.split(), '--logs', '{logs}']\n"
        "    runpy.run_path(f'src/{sys.argv[0]}.py', run_name='__main__')\n"
        "sys.exit(bool({'torch', 'lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")

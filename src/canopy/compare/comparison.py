"""Two runs side by side: what differs, their scores, and whether one is better."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from canopy.compare.columns import is_number
from canopy.compare.predictions import check_same_rows, load_evaluation
from canopy.compare.significance import Significance, compare_predictions
from canopy.compare.verdict import verdict
from canopy.runs.differences import Difference, find_differences
from canopy.runs.listed import ListedRun

TRAINING = ("best.score", "training.epochs", "training.train_seconds", "training.n_parameters")
PER_CLASS = ("recall", "f1")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A comparison of two runs on one split.

    Attributes:
        a: The first run.
        b: The second run.
        split: Which rows: `test` or `val`.
        differences: In what they differ, by group.
        scores: Scores of the two on the split.
        significance: How sure the difference of the scores is.
    """

    a: ListedRun
    b: ListedRun
    split: str
    differences: dict[str, list[Difference]]
    scores: tuple[dict[str, Any], dict[str, Any]]
    significance: Significance

    def metrics(self) -> list[tuple[str, Any, Any, Any]]:
        """Give name, A, B and B - A of each overall score and of what the training took."""
        rows = [
            (name, value, self.scores[1].get(name))
            for name, value in self.scores[0].items()
            if is_number(value) and name != "n_rows"
        ]
        rows += [(name, self.a.value(name), self.b.value(name)) for name in TRAINING]
        return [
            (name, a, b, b - a if is_number(a) and is_number(b) else None)
            for name, a, b in rows
            if a is not None or b is not None
        ]

    def per_class(self) -> dict[str, dict[str, float]]:
        """Give support, recall and F1 of each class in A and B, and the change."""
        classes = {}
        a, b = (scores["per_class"] for scores in self.scores)
        for name in a:
            row = {"support": a[name]["support"]}
            for score in PER_CLASS:
                x, y = a[name][score], b[name][score]
                row |= {f"{score}_a": x, f"{score}_b": y, f"{score}_change": y - x}
            classes[name] = row
        return classes

    def json(self) -> str:
        """Write everything in full."""
        return json.dumps(
            {
                "a": str(self.a.path),
                "b": str(self.b.path),
                "split": self.split,
                "differences": {
                    group: [asdict(difference) for difference in found]
                    for group, found in self.differences.items()
                },
                "metrics": {name: {"a": a, "b": b, "change": c} for name, a, b, c in self.metrics()},
                "per_class": self.per_class(),
                "significance": asdict(self.significance),
                "verdict": verdict(self.significance, split=self.split),
            },
            indent=2,
            ensure_ascii=False,
            default=str,
        )


def compare(a: ListedRun, b: ListedRun, *, split: str) -> Comparison:
    """Compare two evaluated runs.

    Args:
        a: The first.
        b: The second.
        split: Rows to compare them on, `test` or `val`.

    Raises:
        FileNotFoundError: If one has not been evaluated on the split.
        ValueError: If they were evaluated on other rows, or a file is damaged.
    """
    found = load_evaluation(a, split=split), load_evaluation(b, split=split)
    check_same_rows((a, b), found)
    return Comparison(
        a=a,
        b=b,
        split=split,
        differences=find_differences(a, b),
        scores=(found[0].scores, found[1].scores),
        significance=compare_predictions(found[0].labels, found[0].predicted, found[1].predicted),
    )

"""What moved a prediction: how much each feature speaks for the predicted class."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from canopy.bundle.scorer import Scorer

TINY = 1e-12


class Explainer:
    """Compare a row's prediction with what it would be if one feature were not known.

    A feature that is not known has the values of the training rows, as often as they have them: one from
    the middle of each bin of a numeric column, each column of a one-hot group.

    Args:
        scorer: The bundle.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        table, training = scorer.manifest.table, scorer.manifest.training
        self._names: list[str] = []
        self._changes: list[tuple[list[int], NDArray[np.float64], NDArray[np.float64]]] = []
        for index, column in enumerate(table.numeric):
            found = training.numeric[column.name]
            ends = np.array([found["min"], *found["edges"], found["max"]])
            values = ((ends[:-1] + ends[1:]) / 2)[:, None]
            self._names.append(column.name)
            self._changes.append(([index], values, np.array(found["shares"])))
        start = len(table.numeric)
        for group in table.given_groups:
            places = [*range(start, start + len(group.columns))]
            shares = np.array([training.groups[group.name][name] for name in group.columns])
            self._names.append(group.name)
            self._changes.append((places, np.eye(len(places)), shares))
            start += len(places)

    def explain(self, row: NDArray[np.float64]) -> tuple[NDArray[np.float32], list[dict[str, Any]]]:
        """Explain the prediction of a row.

        Args:
            row: Checked raw row, shape (F,).

        Returns:
            The probabilities, shape (K,), and for each `feature` its `contribution`: the log of the predicted
            class's probability less the log of its mean over what the feature might be, above 0 where the
            feature speaks for the class. The largest come first.
        """
        (found,) = self._scorer.predict(row[None, :])
        variants = []
        for places, values, _ in self._changes:
            changed = np.repeat(row[None, :], len(values), axis=0)
            changed[:, places] = values
            variants.append(changed)
        probabilities = self._scorer.predict(np.concatenate(variants))
        predicted = int(found.argmax())
        contributions: list[dict[str, Any]] = []
        start = 0
        for name, (_, values, shares) in zip(self._names, self._changes, strict=True):
            changed = probabilities[start : start + len(values), predicted].astype(float)
            start += len(values)
            usual = float((changed * shares).sum() / shares.sum())
            contribution = float(np.log(max(float(found[predicted]), TINY) / max(usual, TINY)))
            contributions.append({"feature": name, "contribution": contribution})
        contributions.sort(key=lambda item: -abs(item["contribution"]))
        return found, contributions

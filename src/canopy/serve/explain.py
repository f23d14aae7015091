"""Feature contributions: how much each column supports the predicted class."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from canopy.export.scorer import Scorer
from canopy.export.statistics import NumericStatistics
from canopy.prepare.preprocessor import Inputs

TINY = 1e-12
# Values that take the place of a number or a time; of categories, the most frequent ones.
N_VALUES, N_CATEGORIES = 20, 50


class Change(NamedTuple):
    """What takes the place of a column's value.

    Attributes:
        inputs: The columns of `numeric` or of `categorical` that change.
        values: Their values, shape (n_variants, n_inputs).
        shares: How frequent each is, shape (n_variants,).
    """

    inputs: list[int]
    values: NDArray[Any]
    shares: NDArray[np.float64]


class Explainer:
    """Compares a row's prediction with what it would be if the value of one column were not known.

    The column then has values of the training rows, as often as they have them: numbers from the bins of the
    training statistics, the most frequent categories.

    Args:
        scorer: The bundle.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        manifest = scorer.manifest
        training, preprocessor = manifest.training, manifest.preprocessor
        places = {name: place for place, name in enumerate(preprocessor.scalings)}
        inputs = {name: [name] for name in preprocessor.numeric}
        inputs |= {
            name: [f"{name}.{part}" for part in parts] for name, parts in preprocessor.datetime.items()
        }
        self._numeric = {
            name: Change(
                [places[part] for part in parts],
                np.column_stack([draw(training.numeric[part], seed) for seed, part in enumerate(parts)]),
                np.full(N_VALUES, 1 / N_VALUES),
            )
            for name, parts in inputs.items()
        }
        self._categorical: dict[str, Change] = {}
        for place, name in enumerate(preprocessor.categorical):
            shares = np.array([*training.categories[name].values()])
            codes = np.argsort(-shares, kind="stable")[:N_CATEGORIES]
            found = shares[codes]
            self._categorical[name] = Change([place], codes[:, None], found / found.sum())

    def explain(self, row: Inputs) -> tuple[NDArray[np.float32], list[dict[str, Any]]]:
        """Explain the prediction of a row.

        Args:
            row: The row.

        Returns:
            The probabilities, shape (K,), and for each `feature` its `contribution`: the logarithm of the
            predicted class's probability minus that of its mean over the values that the column might have,
            above 0 where the column supports the class. The largest come first.
        """
        changes = {**self._numeric, **self._categorical}
        sizes = [len(change.shares) for change in changes.values()]
        changed = row.take(np.zeros(sum(sizes) + 1, np.int64))
        start = 1
        for name, change in changes.items():
            values = changed.numeric if name in self._numeric else changed.categorical
            values[start : start + len(change.shares), change.inputs] = change.values
            start += len(change.shares)
        found = self._scorer.predict(changed)
        predicted = int(found[0].argmax())
        contributions: list[dict[str, Any]] = []
        parts = np.split(found[1:, predicted].astype(float), np.cumsum(sizes)[:-1])
        for (name, change), probabilities in zip(changes.items(), parts, strict=True):
            usual = float(probabilities @ change.shares)
            contribution = float(np.log(max(float(found[0, predicted]), TINY) / max(usual, TINY)))
            contributions.append({"feature": name, "contribution": contribution})
        contributions.sort(key=lambda item: -abs(item["contribution"]))
        return found[0], contributions


def draw(found: NumericStatistics, seed: int) -> NDArray[np.float64]:
    """Draw values of a numeric input, as often from each bin as the training rows are in it.

    In another order for each seed, so that the parts of a time go together in various ways.

    Examples:
        >>> found = NumericStatistics(min=0, max=4, mean=1, edges=[2], shares=[0.5, 0.5], missing=0.5)
        >>> values, counts = np.unique(draw(found, 0), return_counts=True)
        >>> values.tolist(), counts.tolist()
        ([1.0, 3.0, nan], [5, 5, 10])
    """
    ends = np.array([found["min"], *found["edges"], found["max"]])
    values = np.append((ends[:-1] + ends[1:]) / 2, np.nan)
    shares = np.append(np.array(found["shares"]) * (1 - found["missing"]), found["missing"])
    quantiles = (np.arange(N_VALUES) + 0.5) / N_VALUES
    drawn: NDArray[np.float64] = values[np.searchsorted(shares.cumsum(), quantiles)]
    return np.random.default_rng(seed).permutation(drawn)

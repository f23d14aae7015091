"""Feature contributions: how much each column supports the predicted class, or moves the predicted number."""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from canopy.export.scorer import Scorer
from canopy.export.statistics import NumericStatistics
from canopy.prepare.preprocessor import Inputs

# Values that take the place of a number or a time; of categories, the most frequent ones.
N_VALUES, N_CATEGORIES = 20, 50


class Contribution(TypedDict):
    """How much a column supports the predicted class, above 0 where it does, or adds to the number."""

    feature: str
    contribution: float


class Change(NamedTuple):
    """What takes a column's place in a part of `Inputs`: variants of its values, and their shares."""

    name: str
    part: Literal["numeric", "categorical"]
    places: list[int]
    values: NDArray[Any]
    shares: NDArray[np.float64]


class Explainer:
    """Compares a row's prediction with what it would be if the value of one column were not known.

    The column then has values of the training rows, as often as they have them.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        training, preprocessor = scorer.manifest.training, scorer.manifest.preprocessor
        places = {name: place for place, name in enumerate(preprocessor.scalings)}
        shares = np.full(N_VALUES, 1 / N_VALUES)
        self._changes: list[Change] = []
        # A time of which no part varies is no feature.
        times = [name for name, parts in preprocessor.datetime.items() if parts]
        for name in (*preprocessor.numeric, *times):
            parts = [f"{name}.{part}" for part in preprocessor.datetime.get(name, ())] or [name]
            values = np.column_stack([draw(training.numeric[part], seed) for seed, part in enumerate(parts)])
            self._changes.append(Change(name, "numeric", [places[part] for part in parts], values, shares))
        for place, name in enumerate(preprocessor.categorical):
            shares = np.array([*training.categories[name].values()])
            codes = np.argsort(-shares, kind="stable")[:N_CATEGORIES]
            shares = shares[codes] / shares[codes].sum()
            self._changes.append(Change(name, "categorical", [place], codes[:, None], shares))
        # Where the variants of each change start, after the row itself, and where they end.
        self._starts = np.cumsum([1, *(len(change.shares) for change in self._changes)]).tolist()

    def explain(self, row: Inputs) -> tuple[NDArray[Any], list[Contribution]]:
        """Give the prediction of a row, shape (K,), and the contributions of the columns, largest first.

        That is the predicted number, or the logarithm of the predicted class's probability, minus that of
        its mean over the variants.
        """
        variants = row.take(np.zeros(self._starts[-1], np.int64))
        for start, change in zip(self._starts, self._changes, strict=False):
            changed: NDArray[Any] = getattr(variants, change.part)
            changed[start : start + len(change.shares), change.places] = change.values
        found = self._scorer.predict(variants)
        _, *others = np.split(found, self._starts[:-1])
        contributions = []
        for change, predictions in zip(self._changes, others, strict=True):
            contribution = self._scorer.answers.contribution(found[0], predictions, change.shares)
            contributions.append(Contribution(feature=change.name, contribution=contribution))
        return found[0], sorted(contributions, key=lambda item: -abs(item["contribution"]))


def draw(found: NumericStatistics, seed: int) -> NDArray[np.float64]:
    """Draw values of a numeric input, as often from each bin as the training rows are in it, in any order."""
    ends = np.array([found["min"], *found["edges"], found["max"]])
    values = np.append((ends[:-1] + ends[1:]) / 2, np.nan)
    shares = np.append(np.array(found["shares"]) * (1 - found["missing"]), found["missing"])
    quantiles = (np.arange(N_VALUES) + 0.5) / N_VALUES
    drawn: NDArray[np.float64] = values[np.searchsorted(shares.cumsum(), quantiles)]
    return np.random.default_rng(seed).permutation(drawn)

"""How much a model depends on each feature of the table, and how its predictions change with it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from canopy.data.dataset import Batch
from canopy.evaluation.features import Feature, Predict, take, with_inputs
from canopy.prepare.reductions import Floats
from canopy.tasks.task import LEVEL, Task

# Predictions, and inputs of them, at most, so that many features take no longer than a few.
N_PREDICTIONS, N_INPUTS = 1_500_000, 100_000_000
# Rows for a further repeat, and rows that are left in any case.
N_ENOUGH, N_LEAST = 1000, 100
# Values of a number and categories that a curve goes through; classes and single rows that are drawn.
N_VALUES, N_CATEGORIES, N_CURVES, N_ROWS_SHOWN = 20, 12, 4, 40


def measure_importance(
    predict: Predict,
    rows: Batch,
    features: Sequence[Feature],
    task: Task,
    *,
    n_rows: int,
    n_repeats: int,
    seed: int,
) -> dict[str, Any]:
    """Measure what scores lose when a feature's inputs, all together, are permuted between rows.

    The interval of each loss is that of a mean over rows of paired differences, each row's own being the mean
    over the repeats.

    Source: Breiman, Random forests, 2001; Fisher, Rudin and Dominici, All models are wrong, but many are
    useful, 2019.

    Args:
        predict: The model.
        rows: Rows that it was not trained on.
        features: Features of the table.
        task: Gives the losses of rows.
        n_rows: Rows to draw; fewer where there are many features (`N_PREDICTIONS`, `N_INPUTS`).
        n_repeats: Permutations of each feature; fewer where there are very many.
        seed: Seed of the draw and the permutations.
    """
    generator = np.random.default_rng(seed)
    n_inputs = sum(part.shape[1] for part in rows[:2])
    n_predictions = min(N_PREDICTIONS, N_INPUTS // n_inputs) // len(features)
    n_repeats = min(n_repeats, max(1, n_predictions // N_ENOUGH))
    n_rows = min(n_rows, max(N_LEAST, n_predictions // n_repeats))
    sample = draw_rows(rows, n_rows, generator)
    n_rows = len(sample.labels)
    labels = sample.labels.numpy()
    losses = task.row_losses(predict(*sample[:2]), labels)
    added = {feature.name: np.zeros((2, n_rows)) for feature in features}
    for _ in range(n_repeats):
        others = take(sample, generator.permutation(n_rows))
        for feature in features:
            changed = predict(*with_inputs(sample, feature, others)[:2])
            added[feature.name] += (task.row_losses(changed, labels) - losses) / n_repeats
    found = {}
    for feature in features:
        means = map(_mean, added[feature.name])
        found[feature.name] = {key: mean for (_, key), mean in zip(task.mean_scores, means, strict=True)}
    first = task.mean_scores[0][1]
    ranking = sorted(found, key=lambda name: -found[name][first]["mean"])
    return {
        "n_rows": n_rows,
        "n_repeats": n_repeats,
        **task.mean_scores_of(losses),
        "features": {name: found[name] for name in ranking},
    }


def measure_dependence(
    predict: Predict,
    rows: Batch,
    features: Sequence[Feature],
    task: Task,
    *,
    n_rows: int,
    seed: int,
) -> dict[str, Any]:
    """Measure partial dependence: the mean predictions if all rows had a value of a feature.

    A number has values of the rows in equal steps of rank, a category its most frequent ones; all inputs of
    the feature are those of a row that has the value. The rows' own curves (ICE) are summarised by the first
    and the last decile. Of more than two classes, those whose mean changes most are kept; `curves` are those
    of some rows for the first of them.

    Source: Friedman, Greedy function approximation, 2001; Goldstein et al., Peeking inside the black box,
    2015.
    """
    generator = np.random.default_rng(seed)
    n_inputs = sum(part.shape[1] for part in rows[:2])
    n_rows = min(n_rows, max(N_LEAST, N_INPUTS // (n_inputs * len(features) * N_VALUES)))
    sample, found, shown, names = draw_rows(rows, n_rows, generator), {}, {}, task.output_names
    for feature in features:
        values = feature.values(rows)
        donors = _donors(feature, values)
        curves = np.stack([predict(*with_inputs(sample, feature, take(rows, [i]))[:2]) for i in donors])
        means = curves.mean(axis=1)
        classes = [1] if len(names) == 2 else np.argsort(-np.ptp(means, axis=0))[:N_CURVES].tolist()
        rows_shown = curves[:, :N_ROWS_SHOWN, classes[0]].T.tolist()
        shown[feature.name] = {"places": values[donors].tolist(), "rows": rows_shown}
        deciles = np.quantile(curves, [0.1, 0.9], axis=1)
        found[feature.name] = {
            "values": [feature.text(value) for value in values[donors]],
            "classes": {
                names[place]: {"mean": mean, "deciles": deciles[:, :, place].tolist()}
                for place, mean in ((place, means[:, place].tolist()) for place in classes)
            },
        }
    return {"n_rows": len(sample.labels), "features": found, "curves": shown}


def draw_rows(rows: Batch, n_rows: int, generator: np.random.Generator) -> Batch:
    """Draw at most so many rows, in their order."""
    n_all = len(rows.labels)
    return take(rows, np.sort(generator.choice(n_all, min(n_rows, n_all), replace=False)))


def _mean(values: Floats) -> dict[str, Any]:
    # Here, since it takes time to import.
    from scipy.special import ndtri

    mean = float(values.mean())
    half = float(ndtri((1 + LEVEL) / 2) * values.std(ddof=min(1, len(values) - 1)) / np.sqrt(len(values)))
    return {"mean": mean, "interval": [mean - half, mean + half]}


def _donors(feature: Feature, values: Floats) -> list[int]:
    """Find a row for each value that a curve goes through: ascending numbers, a missing one last."""
    distinct, first, counts = np.unique(values, return_index=True, return_counts=True)
    if feature.kind == "categorical":
        return [*first[np.argsort(-counts, kind="stable")[:N_CATEGORIES]].tolist()]
    n_present, missing = int(counts[~np.isnan(distinct)].sum()), first[np.isnan(distinct)].tolist()
    if not n_present:
        return [*missing]
    # The ends of the tails, where hardly any rows are, would squeeze the rest.
    ranks = np.linspace(0.01, 0.99, N_VALUES) * (n_present - 1)
    places = np.unique(np.searchsorted(counts.cumsum(), ranks, side="right"))
    return [*first[places].tolist(), *missing]

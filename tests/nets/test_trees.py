import numpy as np
import pytest
import torch
from catboost import CatBoostClassifier
from torch import Tensor

from canopy.data.dataset import Batch
from canopy.nets.trees import MAX_ONE_HOT, NEVER, Trees

SETTINGS = {"iterations": 60, "early_stopping_rounds": 20, "depth": 4}
MANY = MAX_ONE_HOT + 10


def make_rows(n_rows: int, *, cardinalities: list[int], n_classes: int, seed: int = 0) -> Batch:
    """Draw rows whose class depends on numbers and on the last categorical feature, some codes unseen."""
    random = torch.Generator().manual_seed(seed)
    numeric = torch.randn(n_rows, 3, generator=random)
    codes = [torch.randint(0, n + 1, (n_rows, 1), generator=random) for n in cardinalities]
    categorical = torch.cat([torch.zeros(n_rows, 0, dtype=torch.int64), *codes], dim=1)
    score = numeric[:, 0] + numeric[:, 1] * 0.5 + (categorical.sum(dim=1) % 2)
    return Batch(numeric, categorical, torch.bucketize(score, torch.linspace(-1, 1, n_classes - 1)))


def only(rows: Batch, which: Tensor | slice) -> Batch:
    return Batch(*(part[which] for part in rows))


def grow(cardinalities: list[int], n_classes: int, train: Batch, val: Batch, **settings: object) -> Trees:
    trees = Trees(cardinalities=cardinalities, n_outputs=n_classes, settings={**SETTINGS, **settings})
    trees.fit(train, val, class_weights=torch.ones(n_classes), seed=0)
    return trees


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("cardinalities", [[], [4], [MANY], [MANY, 3, 2 * MANY]])
def test_trees_predict_as_catboost_does(cardinalities: list[int], n_classes: int) -> None:
    rows = make_rows(500, cardinalities=cardinalities, n_classes=n_classes)
    train, val = (only(rows, where) for where in (slice(400), slice(400, None)))
    trees = grow(cardinalities, n_classes, train, val)
    columns = {
        "train": trees._fit_encodings(train.numeric, train.categorical, train.labels, 0).numpy(),
        "val": trees._columns(val.numeric, val.categorical).numpy(),
    }
    options = {**SETTINGS, "random_seed": 0, "thread_count": torch.get_num_threads()}
    catboost = CatBoostClassifier(**options, verbose=False, allow_writing_files=False)
    catboost.fit(columns["train"], train.labels.numpy(), eval_set=(columns["val"], val.labels.numpy()))
    expected = catboost.predict_proba(columns["val"])
    # Their state makes another net the same.
    other = Trees(n_numeric=3, cardinalities=cardinalities, n_outputs=n_classes, settings={})
    other.load_state_dict(trees.state_dict())
    predicted = other(val.numeric, val.categorical).softmax(dim=1)
    np.testing.assert_allclose(predicted, expected, atol=1e-6)
    assert len(trees.leaves) == catboost.tree_count_ > 1


def test_a_row_does_not_see_its_own_label() -> None:
    """Names that each row has alone say nothing; encoded with their own labels they would say all."""
    names = torch.arange(300)[:, None]
    labels = torch.randint(0, 2, (300,), generator=torch.Generator().manual_seed(1))
    trees = Trees(n_numeric=3, cardinalities=[300], n_outputs=2, settings=SETTINGS)
    encoded = trees._fit_encodings(torch.zeros(300, 3), names, labels, 0)[:, -1]
    assert encoded[labels == 1].mean() < encoded[labels == 0].mean() + 0.1
    own = trees._columns(torch.zeros(300, 3), names)[:, -1]
    assert own[labels == 1].mean() > own[labels == 0].mean() + 0.1


def test_weights_of_classes_undo_a_cap() -> None:
    rows = make_rows(2000, cardinalities=[], n_classes=2)
    kept = torch.cat([torch.where(rows.labels == 0)[0], torch.where(rows.labels == 1)[0][:100]])
    capped = only(rows, kept)
    counts = torch.bincount(rows.labels)
    trees = Trees(n_numeric=3, cardinalities=[], n_outputs=2, settings=SETTINGS)
    trees.fit(capped, rows, class_weights=counts / torch.bincount(capped.labels), seed=0)
    share = trees(rows.numeric, rows.categorical).softmax(dim=1)[:, 1].mean()
    assert float(share) == pytest.approx(float(counts[1] / counts.sum()), abs=0.03)


def test_a_class_without_training_rows_is_never_predicted() -> None:
    rows = make_rows(400, cardinalities=[4], n_classes=3)
    trees = grow([4], 3, only(rows, rows.labels != 1), rows)
    assert trees(rows.numeric, rows.categorical)[:, 1].eq(NEVER).all()


@pytest.mark.parametrize("part", ["one class", "constant features"])
def test_where_nothing_can_be_learnt_they_predict_the_frequencies(part: str) -> None:
    rows = make_rows(200, cardinalities=[4, MANY], n_classes=3)
    if part == "one class":
        train = only(rows, rows.labels == 2)
    else:
        train = rows = Batch(torch.zeros(200, 3), torch.zeros_like(rows.categorical), rows.labels)
    expected = torch.bincount(train.labels) / len(train.labels)
    predicted = grow([4, MANY], 3, train, rows)(rows.numeric, rows.categorical).softmax(dim=1)
    torch.testing.assert_close(predicted.mean(dim=0), expected, atol=0.02, rtol=0)


def test_a_fixed_fit_grows_as_many_trees_at_the_same_rate() -> None:
    rows = make_rows(500, cardinalities=[4], n_classes=2)
    train, val = (only(rows, where) for where in (slice(400), slice(400, None)))
    settings = {"iterations": 1000, "early_stopping_rounds": 5}
    trees = grow([4], 2, train, val, **settings)
    n_trees, rate = len(trees.leaves), float(trees.learning_rate)
    assert 0 < rate < 1
    assert 1 < n_trees < 1000
    again = Trees(n_numeric=3, cardinalities=[4], n_outputs=2, settings=settings)
    again.fix(n_trees=n_trees, learning_rate=rate)
    again.fit(rows, None, class_weights=torch.ones(2), seed=0)
    assert len(again.leaves) == n_trees
    assert float(again.learning_rate) == pytest.approx(rate)

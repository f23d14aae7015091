"""Boosted trees as a net: fitted by CatBoost, then tensors like any other weights."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from canopy.data.dataset import Batch
from canopy.nets.features import OneHot

# Categories of a feature that enters as one-hot columns; one of more enters as the class frequencies of each.
MAX_ONE_HOT = 32
# Trees times classes whose leaves are summed at once, which bounds the memory of a large batch.
N_SCORES = 4096
# Logit of a class that no training row has.
NEVER = -30.0


class Trees(nn.Module):
    """Boosted trees, which `fit` makes before training; gradients change nothing in them.

    All trees ask the same question in all nodes of a depth, so that a row's leaf is found by comparisons
    alone. Their tensors are buffers, whose sizes a checkpoint gives. `settings` are options of
    `catboost.CatBoostClassifier`, or of `CatBoostRegressor` where labels are numbers; the further `options`
    of nets, such as embeddings, are left out.

    Source: Prokhorenkova et al., CatBoost: unbiased boosting with categorical features, 2018.
    """

    n_members = 1
    features: Tensor
    borders: Tensor
    leaves: Tensor
    bias: Tensor
    learning_rate: Tensor
    encodings: Tensor

    def __init__(
        self, *, cardinalities: Sequence[int], n_outputs: int, settings: Mapping[str, Any], **options: Any
    ) -> None:
        super().__init__()
        self.settings = {**settings}
        self._few = [place for place, n in enumerate(cardinalities) if n <= MAX_ONE_HOT]
        self._many = [place for place, n in enumerate(cardinalities) if n > MAX_ONE_HOT]
        self._sizes = [cardinalities[place] + 1 for place in self._many]
        self.one_hot = OneHot([cardinalities[place] for place in self._few])
        # Of D depths of T trees: what they ask; of their leaves: what they add to each class.
        self.register_buffer("features", torch.zeros(1, 1, dtype=torch.int64))
        self.register_buffer("borders", torch.zeros(1, 1))
        self.register_buffer("leaves", torch.zeros(1, 2, n_outputs))
        self.register_buffer("bias", torch.zeros(n_outputs))
        # That of the fit, which CatBoost chooses by rows and trees; 0 where there was nothing to learn.
        self.register_buffer("learning_rate", torch.zeros(()))
        if self._many:
            # Of each category of each feature: frequencies of the classes.
            self.register_buffer("encodings", torch.zeros(sum(self._sizes), 1))

    def hidden_weights(self) -> list[Tensor]:
        return []

    def fix(self, *, n_trees: int, learning_rate: float) -> None:
        """Let the next fit grow as many trees as an earlier one, at its rate, without validation rows."""
        if learning_rate > 0:
            self.settings |= {"iterations": n_trees, "learning_rate": learning_rate}
        self.settings.pop("early_stopping_rounds", None)

    @torch.no_grad()
    def fit(self, train: Batch, val: Batch | None, *, class_weights: Tensor, seed: int) -> None:
        """Grow the trees; validation rows choose their number, without them the settings do."""
        from catboost import CatBoostClassifier, CatBoostRegressor, Pool

        numeric, categorical, labels, _ = train
        # What their rows weigh has no part in the encodings of categories, which scikit-learn cannot weigh.
        is_number, rows = labels.is_floating_point(), train.row_weights
        if rows is not None:
            kept = rows > 0
            numeric, categorical, labels, rows = numeric[kept], categorical[kept], labels[kept], rows[kept]
        found, weights = torch.unique(labels), rows
        if is_number:
            mean = labels.double().mean() if rows is None else rows.double() @ labels.double() / rows.sum()
            self.bias.fill_(mean)
        else:
            self.bias.fill_(NEVER)
            weights = class_weights[labels] if rows is None else class_weights[labels] * rows
            shares = torch.bincount(labels, weights, len(self.bias))[found]
            self.bias[found] = (shares / shares.sum()).log().to(self.bias)
        columns = self._fit_encodings(numeric, categorical.long(), labels, seed)
        if len(found) < 2 or (columns == columns[0]).all():
            return
        watched: Any = None
        if val is not None and (known := torch.isin(val.labels, found) | is_number).any():
            seen = self._columns(val.numeric, val.categorical.long())[known]
            watched = seen.numpy(), val.labels[known].numpy()
            if val.row_weights is not None:
                watched = Pool(*watched, weight=val.row_weights[known].numpy())
        options = {"random_seed": seed, "thread_count": torch.get_num_threads()}
        kind = CatBoostRegressor if is_number else CatBoostClassifier
        model = kind(**self.settings, **options, verbose=False, allow_writing_files=False)
        own = None if weights is None else weights.numpy()
        model.fit(columns.numpy(), labels.numpy(), sample_weight=own, eval_set=watched)
        self.learning_rate.fill_(model.learning_rate_)
        with TemporaryDirectory() as folder:
            path = Path(folder, "trees.json")
            model.save_model(str(path), format="json")
            content = json.loads(path.read_text(encoding="utf-8"))
        if is_number:
            self._take(content, torch.zeros(1, dtype=torch.int64))
        else:
            self.bias[found] = 0.0
            # Of two classes it scores the second alone.
            self._take(content, found if len(found) > 2 else found[1:])

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        columns = self._columns(numeric, categorical)
        n_trees, n_leaves, n_outputs = self.leaves.shape
        scores = self.bias
        n_at_once = max(1, N_SCORES // n_outputs)
        for first in range(0, n_trees, n_at_once):
            chosen = slice(first, min(first + n_at_once, n_trees))
            leaf = torch.arange(chosen.stop - first, device=columns.device) * n_leaves
            for depth in range(len(self.features)):
                feature, border = self.features[depth, chosen], self.borders[depth, chosen]
                leaf = leaf + (columns.index_select(1, feature) > border).long() * 2**depth
            scores = scores + self.leaves[chosen].flatten(0, 1)[leaf].sum(dim=1)
        return scores

    def _columns(self, numeric: Tensor, codes: Tensor, *, encoded: Tensor | None = None) -> Tensor:
        parts = [numeric, self.one_hot(codes[:, self._few])]
        if self._many and encoded is None:
            tables = zip(self._many, torch.split(self.encodings, self._sizes), strict=True)
            parts += [table[codes[:, place]] for place, table in tables]
        return torch.cat(parts if encoded is None else [*parts, encoded], dim=1)

    def _fit_encodings(self, numeric: Tensor, codes: Tensor, labels: Tensor, seed: int) -> Tensor:
        """Encode categories; return the columns of the training rows, without a row's own label in them."""
        from sklearn.model_selection import KFold, StratifiedKFold
        from sklearn.preprocessing import TargetEncoder

        is_number = labels.is_floating_point()
        most = len(labels) if is_number else int(labels.bincount().max())
        if not self._many or most in ((1,) if is_number else (1, len(labels))):
            return self._columns(numeric, codes)
        split = KFold if is_number else StratifiedKFold
        folds = split(min(5, most), shuffle=True, random_state=seed)
        encoder = TargetEncoder(target_type="continuous" if is_number else "auto", cv=folds)
        own = encoder.fit_transform(codes[:, self._many].numpy(), labels.numpy())
        every = np.minimum(np.arange(max(self._sizes))[:, None], np.array(self._sizes) - 1)
        tables = encoder.transform(every).reshape(len(every), len(self._many), -1)
        rows = [tables[:size, place] for place, size in enumerate(self._sizes)]
        self.encodings = torch.from_numpy(np.concatenate(rows)).to(self.bias)
        return self._columns(numeric, codes, encoded=torch.from_numpy(own).to(self.bias))

    def _take(self, model: dict[str, Any], scored: Tensor) -> None:
        """Take over the trees of CatBoost's JSON file, which score these outputs."""
        trees = model["oblivious_trees"]
        depth = max(len(tree["splits"] or ()) for tree in trees)
        n_outputs = len(scored)
        features = np.zeros((depth, len(trees)), dtype=np.int64)
        # Nothing is above it: the further depths of a smaller tree change no leaf.
        borders = np.full((depth, len(trees)), np.inf)
        leaves = np.zeros((len(trees), 2**depth, n_outputs))
        for place, tree in enumerate(trees):
            for level, asked in enumerate(tree["splits"] or ()):
                features[level, place] = asked["float_feature_index"]
                borders[level, place] = asked["border"]
            values = np.reshape(tree["leaf_values"], (-1, n_outputs))
            leaves[place, : len(values)] = values
        scale, bias = model["scale_and_bias"]
        self.features = torch.from_numpy(features).to(self.features)
        self.borders = torch.from_numpy(borders).to(self.borders)
        self.leaves = torch.zeros(*leaves.shape[:2], len(self.bias)).to(self.leaves)
        self.leaves[:, :, scored] = torch.from_numpy(leaves * scale).to(self.leaves)
        self.bias[scored] = torch.tensor(bias).to(self.bias)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        for name, buffer in self.named_buffers(recurse=False):
            if (saved := state_dict.get(prefix + name)) is not None:
                setattr(self, name, torch.empty_like(saved, device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *args)

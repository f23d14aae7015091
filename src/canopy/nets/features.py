"""The entrance of every net: numeric features and categories to one flat row of numbers."""

import math
from collections.abc import Callable, Sequence
from inspect import signature

import torch
from torch import Tensor, nn

Quantiles = Sequence[Sequence[float]]
Embedding = Callable[..., nn.Module]

# One-hot columns make the first layer wider by each category; with more categories than this, a step takes
# longer with them than with an embedding.
MAX_ONE_HOT = 100


class Features(nn.Module):
    """Embed numeric features, encode categories, and put all side by side: (B, N), (B, C) to (B, W).

    The output has the numeric features first, then the one-hot columns of features of few categories, then
    the embeddings of those of many.

    Args:
        n_numeric: Numeric features N.
        cardinalities: Number of categories of each categorical feature, C of them.
        quantiles: Quantiles of each numeric feature on the training rows, N of them.
        embedding: Makes the embeddings of the numeric features: called with N, and with `quantiles` if it
            takes them, it returns a module from (B, N) to (B, N, D). Without one they enter as they are.
        max_one_hot: Most categories of a feature that enters as one-hot columns; 0 embeds all.
        d_category: Width of the embedding of a category; without one it is chosen by their number.

    Attributes:
        widths: Numbers of each feature, in the order of the output; `n_outputs` is their sum W.
    """

    few: Tensor | None

    def __init__(
        self,
        *,
        n_numeric: int,
        cardinalities: Sequence[int],
        quantiles: Quantiles = (),
        embedding: Embedding | None = None,
        max_one_hot: int = MAX_ONE_HOT,
        d_category: int | None = None,
    ) -> None:
        super().__init__()
        self.embedding: nn.Module = nn.Identity()
        if embedding is not None and n_numeric:
            options = {"quantiles": quantiles} if "quantiles" in signature(embedding).parameters else {}
            self.embedding = embedding(n_numeric, **options)
        few = [place for place, n in enumerate(cardinalities) if n <= max_one_hot]
        self.many = [place for place, n in enumerate(cardinalities) if n > max_one_hot]
        self.one_hot = OneHot([cardinalities[place] for place in few])
        embeddings = [_embed_categories(cardinalities[place], d_category) for place in self.many]
        self.category_embeddings = nn.ModuleList(embeddings)
        # Where all features are of one kind there is nothing to select.
        self.register_buffer("few", torch.tensor(few) if few and self.many else None, persistent=False)
        with torch.no_grad():
            n_embedded = self.embedding(torch.zeros(1, n_numeric)).numel()
        self.widths = [n_embedded // n_numeric] * n_numeric if n_numeric else []
        self.widths += [cardinalities[place] for place in few]
        self.widths += [embed.embedding_dim for embed in embeddings]
        self.n_outputs = sum(self.widths)

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        few = categorical if self.few is None else categorical.index_select(1, self.few)
        embedded = zip(self.many, self.category_embeddings, strict=True)
        parts = [self.embedding(numeric).flatten(1), self.one_hot(few)]
        return torch.cat([*parts, *(embed(categorical[:, place]) for place, embed in embedded)], dim=1)


def _embed_categories(n_categories: int, width: int | None) -> nn.Embedding:
    if width is None:
        # fastai's rule of thumb (`fastai.tabular.model.emb_sz_rule`), with the bound of its first versions.
        width = min(50, round(1.6 * math.pow(n_categories, 0.56)))
    # The last row is that of unseen categories: zeros, which no gradient reaches.
    embed = nn.Embedding(n_categories + 1, width, padding_idx=n_categories)
    # As in Gorishniy et al., Revisiting deep learning models for tabular data, 2021.
    bound = 1 / math.sqrt(width)
    with torch.no_grad():
        embed.weight[:-1].uniform_(-bound, bound)
    return embed


class OneHot(nn.Module):
    """Turn the codes of several categorical features into zeros and ones; an unseen category is all zeros."""

    sizes: Tensor
    offsets: Tensor

    def __init__(self, cardinalities: Sequence[int]) -> None:
        super().__init__()
        sizes = torch.tensor([0, *cardinalities], dtype=torch.int64)
        self.n_outputs = int(sizes.sum())
        if cardinalities:
            # Torch cannot export a buffer without elements.
            self.register_buffer("offsets", sizes.cumsum(0)[:-1], persistent=False)
            self.register_buffer("sizes", sizes[1:], persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        zeros = torch.zeros(codes.shape[0], self.n_outputs, device=codes.device)
        if not self.n_outputs:
            return zeros
        seen = codes < self.sizes
        return zeros.scatter(1, codes * seen + self.offsets, seen.float())

"""The entrance of every net: numeric features and categories to one flat row of numbers."""

import math
from collections.abc import Callable, Sequence
from inspect import Signature, signature

import torch
from torch import Tensor, nn

Quantiles = Sequence[Sequence[float]]
Embedding = Callable[..., nn.Module]

# One-hot columns make the first layer wider by each category; with more categories than this, a step takes
# longer with them than with an embedding.
MAX_ONE_HOT = 100


class Features(nn.Module):
    """Embed numeric features, encode categories, and put all side by side.

    A feature of few categories enters as one-hot columns, one of many as the embedding of its category.

    Args:
        n_numeric: Numeric features N.
        cardinalities: Number of categories of each categorical feature, C of them.
        quantiles: Quantiles of each numeric feature on the training rows, N of them.
        embedding: Makes the embeddings of the numeric features: called with N, and with `quantiles` if it
            takes them, it returns a module from (B, N) to (B, N, D). Without one the features enter as
            they are.
        max_one_hot: Most categories of a feature that enters as one-hot columns; 0 embeds all.
        d_category: Width of the embedding of a category; without one `embedding_width` chooses it.

    Attributes:
        widths: Numbers of each feature, in the order of the output, N + C of them.
        n_outputs: Width W of a row, their sum.

    Shape:
        - numeric: (B, N), float
        - categorical: (B, C), int64 codes; the number of a feature's categories is the code of unseen ones
        - output: (B, W): numeric features, then one-hot columns, then embeddings of categories

    Raises:
        ValueError: If `max_one_hot` or `d_category` is out of range.

    Examples:
        >>> features = Features(n_numeric=1, cardinalities=[100_000, 3], d_category=4)
        >>> features(torch.tensor([[0.5]]), torch.tensor([[99_999, 2]])).shape
        torch.Size([1, 8])
        >>> features.widths
        [1, 3, 4]
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
        if max_one_hot < 0:
            raise ValueError(
                f"max_one_hot must be at least 0, which embeds all categories; got {max_one_hot}"
            )
        if d_category is not None and d_category < 1:
            raise ValueError(f"d_category must be at least 1, or null for a width by rule; got {d_category}")
        self.embedding: nn.Module = nn.Identity()
        if embedding is not None and n_numeric:
            options = {"quantiles": quantiles} if "quantiles" in signature(embedding).parameters else {}
            self.embedding = embedding(n_numeric, **options)
        few = [place for place, n in enumerate(cardinalities) if n <= max_one_hot]
        self.many = [place for place, n in enumerate(cardinalities) if n > max_one_hot]
        self.one_hot = OneHot([cardinalities[place] for place in few])
        embeddings = [make_category_embedding(cardinalities[place], d_category) for place in self.many]
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
        parts = [self.embedding(numeric).flatten(1), self.one_hot(few)]
        for place, embed in zip(self.many, self.category_embeddings, strict=True):
            parts.append(embed(categorical[:, place]))
        return torch.cat(parts, dim=1)


class FeatureNet(nn.Module):
    """What nets extend: `features` takes the options of `Features`, the net those of its own layers."""

    def __init_subclass__(cls) -> None:
        # Without `**options`, so that a misspelt one in a config is refused by its own key.
        parameters = {**signature(FeatureNet.__init__).parameters, **signature(cls.__init__).parameters}
        taken = [parameter for name, parameter in parameters.items() if name not in ("self", "options")]
        cls.__signature__ = Signature(taken)  # type: ignore[attr-defined]

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
        self.features = Features(
            n_numeric=n_numeric,
            cardinalities=cardinalities,
            quantiles=quantiles,
            embedding=embedding,
            max_one_hot=max_one_hot,
            d_category=d_category,
        )


def embedding_width(n_categories: int) -> int:
    """Choose the width of the embedding of a feature with many categories.

    Source: fastai's rule of thumb, min(600, 1.6 n ** 0.56), found by trial and error
    (`fastai.tabular.model.emb_sz_rule`), with the bound of 50 of its first versions: 100,000 names then have
    5 million weights, and not 60.

    Examples:
        >>> [embedding_width(n) for n in (2, 101, 1000, 100_000)]
        [2, 21, 50, 50]
    """
    return min(50, round(1.6 * math.pow(n_categories, 0.56)))


def make_category_embedding(n_categories: int, width: int | None) -> nn.Embedding:
    """Make the embedding of one categorical feature, of a width by rule if there is none.

    Its first weights are uniform in ±1/√width, as those of `rtdl_revisiting_models.CategoricalEmbeddings`
    (source: Gorishniy et al., Revisiting deep learning models for tabular data, 2021).
    """
    width = width or embedding_width(n_categories)
    # The last row is that of unseen categories: zeros, which no gradient reaches.
    embed = nn.Embedding(n_categories + 1, width, padding_idx=n_categories)
    bound = 1 / math.sqrt(width)
    with torch.no_grad():
        embed.weight[:-1].uniform_(-bound, bound)
    return embed


class OneHot(nn.Module):
    """Turn the codes of several categorical features into one row of zeros and ones.

    Args:
        cardinalities: Number of categories of each feature, C of them.

    Shape:
        - codes: (B, C), int64; one that is its feature's number of categories is an unseen one, all zeros
        - output: (B, sum(cardinalities)), float32

    Examples:
        >>> OneHot([2, 3])(torch.tensor([[1, 0], [2, 0]]))
        tensor([[0., 1., 1., 0., 0.],
                [0., 0., 1., 0., 0.]])
    """

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

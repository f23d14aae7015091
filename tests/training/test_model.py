from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Trainer
from rtdl_num_embeddings import PeriodicEmbeddings
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from canopy.data.dataset import Batch, load_rows
from canopy.data.loader import Loader
from canopy.nets.mlp import MLP
from canopy.nets.piecewise import PiecewiseLinear
from canopy.nets.resnet import ResNet
from canopy.nets.tabm import TabM
from canopy.schema.tensors import SCHEMA_FILE, CategoricalFeature, Schema
from canopy.tasks.losses import focal_loss
from canopy.training.model import TabularModel
from canopy.training.muon import MuonAdamW


@pytest.fixture
def make(tensors: Path) -> partial[TabularModel]:
    return partial(
        TabularModel,
        schema=Schema.load(tensors / SCHEMA_FILE),
        net=partial(MLP, hidden=[4]),
        optimizer=partial(torch.optim.SGD, lr=0.1),
    )


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((200, 100, 100), (100, 100, 100), (2 / 3, 4 / 3, 4 / 3)),
        ((300, 100, 0), (100, 100, 0), (2 / 3, 2, 1)),
    ],
)
def test_logit_adjustment_is_the_log_ratio_of_the_frequencies(
    make: partial[TabularModel], tensors: Path, before: tuple[int], after: tuple[int], expected: tuple[float]
) -> None:
    schema = Schema.load(tensors / SCHEMA_FILE)
    counts = {**schema.class_counts, "train_before_cap": before, "train": after}
    model = make(schema=replace(schema, class_counts=counts))
    torch.testing.assert_close(model.log_prior_ratio, torch.tensor(expected).log())
    assert make(logit_adjustment=False).log_prior_ratio.tolist() == [0, 0, 0]


def test_loss_is_called_without_the_wrapper_of_a_config(make: partial[TabularModel]) -> None:
    class Wrapped(partial[torch.Tensor]):
        def __call__(self, *args: object, **kwargs: object) -> torch.Tensor:
            raise AssertionError("Hydra's wrapper takes longer than a step of a small net")

    loss = make(loss=Wrapped(nn.functional.cross_entropy, label_smoothing=0.5)).loss
    assert loss(torch.tensor([[0.0, 9.0]]), torch.tensor([1])) == pytest.approx(2.25, abs=0.001)


@pytest.mark.parametrize("class_weights", ["balanced", {"a": 1, "b": 2.5, "c": 0.5}])
def test_class_weights_are_those_of_the_loss(
    make: partial[TabularModel], tensors: Path, class_weights: str | dict[str, float]
) -> None:
    schema = Schema.load(tensors / SCHEMA_FILE)
    # Logit adjustment brings back the frequencies before the cap.
    counts = {**schema.class_counts, "train": (100, 40, 3), "train_before_cap": (500, 40, 3)}
    schema = replace(schema, class_counts=counts)
    names = dict(zip("abc", schema.class_names, strict=True))
    given = class_weights if class_weights == "balanced" else {names[k]: w for k, w in class_weights.items()}
    labels = np.repeat([0, 1, 2], counts["train_before_cap"])
    expected = torch.tensor(
        compute_class_weight("balanced", classes=np.arange(3), y=labels)
        if given == "balanced"
        else [*given.values()]
    ).float()
    model = make(schema=schema, class_weights=given)
    assert model.class_weights is not None
    torch.testing.assert_close(model.class_weights, expected)
    assert "class_weights" not in model.state_dict()
    model.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    model.log = lambda *_, **__: None  # type: ignore[method-assign,assignment]
    batch = load_rows(tensors, "train", schema)[torch.arange(60)]
    logits = model.net(batch.numeric, batch.categorical.long()) + model.log_prior_ratio
    loss = nn.functional.cross_entropy(logits, batch.labels, weight=expected)
    torch.testing.assert_close(model.training_step(batch, 0), loss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weights": {"x": 1}}, r"must be a number above 0 for each of .*; got {'x': 1.0}"),
        ({"class_weights": "even"}, "must be none, balanced or a weight for each class; got 'even'"),
        ({"class_weights": "balanced", "loss": lambda logits, labels: 0}, "model.loss must take `reduction`"),
    ],
)
def test_wrong_class_weights_are_refused(
    make: partial[TabularModel], options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)
    assert make(class_weights="none").class_weights is None


def test_focal_loss_counts_sure_rows_little() -> None:
    logits, labels = torch.randn(50, 4), torch.randint(4, (50,))
    entropy = nn.functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(focal_loss(logits, labels, gamma=0.0), entropy.mean())
    expected = (1 - (-entropy).exp()) ** 3 * entropy
    torch.testing.assert_close(focal_loss(logits, labels, gamma=3.0, reduction="none"), expected)


def test_members_learn_by_themselves_and_predict_their_mean(make: partial[TabularModel]) -> None:
    class Members(nn.Module):
        def __init__(self, **_: object) -> None:
            super().__init__()
            self.logits = nn.Parameter(torch.tensor([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))

        def forward(self, numeric: torch.Tensor, categorical: torch.Tensor) -> torch.Tensor:
            return self.logits.expand(len(numeric), -1, -1)

    model = make(net=Members, logit_adjustment=False)
    model.trainer = Trainer(logger=False, log_every_n_steps=1000)
    batch = Batch(torch.zeros(2, 2), torch.zeros(2, 1, dtype=torch.int64), torch.tensor([0, 2]))
    log_probabilities = model.net.logits.log_softmax(dim=1)
    expected = -(log_probabilities[:, 0] + log_probabilities[:, 2]).sum() / 4
    torch.testing.assert_close(model.training_step(batch, 0), expected)
    mean = model.net.logits.softmax(dim=1).mean(dim=0)
    torch.testing.assert_close(model(batch.numeric, batch.categorical).softmax(dim=1), mean.expand(2, -1))


@pytest.mark.parametrize("max_one_hot", [100, 2], ids=["one-hot", "embedded"])
def test_an_optimizer_that_takes_them_gets_the_hidden_matrices(
    make: partial[TabularModel], max_one_hot: int
) -> None:
    model = make(net=partial(MLP, hidden=[4], max_one_hot=max_one_hot), optimizer=partial(MuonAdamW, lr=0.1))
    muon, adamw = model.configure_optimizers().param_groups
    assert [id(weight) for weight in muon["params"]] == [id(model.net.layers[0].weight)]
    assert len(adamw["params"]) == len(list(model.net.parameters())) - 1


@pytest.mark.parametrize(
    ("n_names", "kind"), [(101, torch.uint8), (999, torch.uint16), (70_000, torch.int32)]
)
def test_a_net_learns_from_a_column_of_many_names(
    make: partial[TabularModel], n_names: int, kind: torch.dtype
) -> None:
    schema = make.keywords["schema"]
    names = CategoricalFeature(name="name", categories=tuple(map(str, range(n_names))))
    model = make(schema=replace(schema, categorical=(names,)))
    model.trainer = Trainer(logger=False, log_every_n_steps=1000)
    codes = torch.randint(n_names, (300, 1))
    model.training_step(Batch(torch.randn(300, 2), codes.to(kind), torch.arange(300) % 3), 0).backward()
    (embed,) = model.net.features.category_embeddings
    assert embed.weight.grad.any(dim=1).nonzero()[:, 0].tolist() == codes.unique().tolist()


@pytest.mark.parametrize(
    "embedding",
    [None, partial(PeriodicEmbeddings, lite=False), partial(PiecewiseLinear, n_bins=4, d_embedding=4)],
)
@pytest.mark.parametrize(
    "net",
    [
        partial(MLP, hidden=[4], dropout=0.1),
        partial(MLP, hidden=[4], max_one_hot=2),
        partial(ResNet, n_blocks=1, width=4, hidden=4, hidden_dropout=0.1),
        partial(TabM, n_members=2, n_blocks=1, width=4),
    ],
)
def test_a_training_step_never_waits_for_the_device(
    make: partial[TabularModel], tensors: Path, net: partial[nn.Module], embedding: Callable[..., nn.Module]
) -> None:
    """A value that is read back stalls a GPU; from the meta device it cannot be read."""

    # Without AdamW, whose fused step is PyTorch's own and knows no meta device.
    def optimizer_of(params: object, *, hidden: list[torch.Tensor]) -> torch.optim.Optimizer:
        return MuonAdamW(hidden, hidden=hidden, lr=0.1)

    model = make(net=partial(net, embedding=embedding), optimizer=optimizer_of).to("meta")
    model.trainer = Trainer(accelerator="cpu", logger=False, log_every_n_steps=1000)
    optimizer = model.configure_optimizers()
    rows = load_rows(tensors, "train", model.schema).to(torch.device("meta"))
    for index, batch in enumerate(Loader(rows, batch_size=100, shuffle=True, seed=0)):
        optimizer.zero_grad()
        model.training_step(batch, index).backward()
        optimizer.step()

"""Weigh the kinds of nets of an ensemble by what they give on the validation rows."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from canopy.callbacks.whole_split import loader_of
from canopy.nets.ensemble import MixedEnsemble

# Rows that go through the net at once.
N_ROWS = 4096
# Steps to the most probable weights.
N_STEPS = 100


class MemberSelection(Callback):
    """Weigh the kinds of a `MixedEnsemble` before each validation, which then scores the weighted mean.

    Args:
        prior: See `choose_weights`.

    Attributes:
        found: By the number of each epoch, from 1, what `describe_kinds` says of the kinds.
    """

    def __init__(self, prior: float) -> None:
        self.prior = prior
        self.found: dict[int, dict[str, dict[str, float]]] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module.net, MixedEnsemble):
            raise ValueError(
                "callbacks.member_selection must have a net of several kinds; got "
                f"{type(pl_module.net).__name__}: choose model=mixed, or leave it out"
            )

    @torch.inference_mode()
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        net = pl_module.net
        assert isinstance(net, MixedEnsemble)
        # All rows in each process, so that all weigh alike.
        rows: Any = loader_of(trainer, "val").dataset
        likelihoods = []
        for indices in torch.arange(len(rows), device=rows.device).split(N_ROWS):  # type: ignore[no-untyped-call]
            batch = rows[indices]
            numeric, codes = (part.to(pl_module.device) for part in (batch.numeric, batch.categorical.long()))
            labels = batch.labels.to(pl_module.device)
            predicted = torch.stack(net.probabilities(numeric, codes), dim=2)
            likelihoods.append(predicted[torch.arange(len(labels), device=labels.device), labels])
        found = torch.cat(likelihoods).cpu().double()
        weights = choose_weights(found, prior=self.prior)
        net.weigh(weights)
        if not trainer.sanity_checking:
            names = [*net.members]
            self.found[trainer.current_epoch + 1] = describe_kinds(found, weights, names)

    def state_dict(self) -> dict[str, Any]:
        return {"found": self.found}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.found = state_dict["found"]


def choose_weights(likelihoods: Tensor, *, prior: float) -> Tensor:
    """Weigh nets so that their weighted mean has a low log loss.

    Args:
        likelihoods: Probability that each of N nets gives to the true class of each row, shape (B, N).
        prior: Rows that each net is taken to have been right in beforehand.

    Returns:
        Weight of each net, shape (N,), their sum 1; the fewer rows there are, the closer to equal weights.

    Source: Dempster et al., Maximum likelihood from incomplete data via the EM algorithm, 1977: the most
    probable weights of a mixture, their prior a Dirichlet distribution.

    Examples:
        >>> right_in_turn = torch.tensor([[0.9, 0.3, 0.1], [0.3, 0.9, 0.1]])
        >>> choose_weights(right_in_turn, prior=100.0)
        tensor([0.3342, 0.3342, 0.3316])
        >>> choose_weights(right_in_turn.repeat(500, 1), prior=1.0)
        tensor([0.4994, 0.4994, 0.0012])
    """
    n_rows, n_nets = likelihoods.shape
    likelihoods = likelihoods.clamp_min(torch.finfo(likelihoods.dtype).tiny)
    weights = torch.full((n_nets,), 1 / n_nets, dtype=likelihoods.dtype, device=likelihoods.device)
    for _ in range(N_STEPS):
        rows_of_each = (weights * likelihoods / (likelihoods @ weights)[:, None]).sum(dim=0)
        weights = (rows_of_each + prior) / (n_rows + n_nets * prior)
    return weights


def describe_kinds(likelihoods: Tensor, weights: Tensor, names: list[str]) -> dict[str, dict[str, float]]:
    """Say what each net gives to the weighted mean of all.

    Args:
        likelihoods: As in `choose_weights`, shape (B, N).
        weights: Of each net, shape (N,).
        names: Of each net.

    Returns:
        For each net its weight, its own log loss, and what the log loss of the mean would rise by without it.
    """
    whole = _log_loss(likelihoods @ weights[:, None])
    found = {}
    for index, name in enumerate(names):
        rest = weights.clone()
        rest[index] = 0
        without = _log_loss(likelihoods @ rest[:, None] / rest.sum())
        found[name] = {
            "weight": float(weights[index]),
            "nll": float(_log_loss(likelihoods[:, [index]])),
            "gain": float(without - whole) if len(names) > 1 else 0.0,
        }
    return found


def _log_loss(likelihoods: Tensor) -> Tensor:
    tiny = torch.finfo(likelihoods.dtype).tiny
    return -likelihoods.clamp_min(tiny).log().mean(dim=0)

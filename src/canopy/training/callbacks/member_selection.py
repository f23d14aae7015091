"""Keep the best epoch of each kind of net of an ensemble, and weigh the kinds, by the validation rows."""

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor

from canopy.nets.ensemble import MixedEnsemble
from canopy.tasks.task import Task
from canopy.training.callbacks.whole_split import loader_of

# Rows that go through the net at once.
N_ROWS = 4096
# Most steps to the most probable weights, and the change of all weights that ends them.
N_STEPS, TOLERANCE = 1000, 1e-6
# A net whose log loss is more than so many times that of the best one has no weight, unless both are tiny.
MOST_TIMES_BEST, TINY_LOG_LOSS = 3.0, 3e-5


class MemberSelection(EMAWeightAveraging):
    """Score and save a `MixedEnsemble` whose kinds are each at their own best epoch, and weighed.

    Kinds learn, and begin to overfit, at different times. Before each validation every kind takes the
    averaged weights of its best epoch so far, by log loss on the validation rows, and its share in the mean.
    After it training continues from the latest weights. `prior` is that of `choose_weights`.

    Attributes:
        found: By the number of each epoch, from 1, for each kind: its weight, its own log loss (`nll`), what
            the log loss of the mean would rise by without it (`gain`), and, unless it is made of trees, the
            `epoch` and `step` that it is at.
    """

    def __init__(self, prior: float, **options: Any) -> None:
        super().__init__(**options)
        self.prior = prior
        self.found: dict[int, dict[str, dict[str, float]]] = {}
        # Of the best epoch of each kind: its number and step, likelihoods of the validation rows, weights.
        self._epochs: dict[str, tuple[int, int]] = {}
        self._likelihoods: dict[str, Tensor] = {}
        self._best: dict[str, dict[str, Tensor]] = {}
        # The averaged weights of kinds that validation sets back to an earlier epoch.
        self._latest: dict[str, dict[str, Tensor]] = {}

    @torch.no_grad()
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_epoch_start(trainer, pl_module)
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        net = pl_module.net
        assert isinstance(net, MixedEnsemble), "weighs the members of model=mixed"
        epoch = trainer.current_epoch + 1
        measured, rows = _measure_likelihoods(trainer, pl_module), _weights_of_rows(trainer)
        for name, likelihoods in zip(net.members, measured.unbind(dim=1), strict=True):
            own = {key: weight.detach().clone() for key, weight in _parameters(pl_module, name)}
            if name not in self._best or _log_loss(likelihoods, rows) < _log_loss(
                self._likelihoods[name], rows
            ):
                self._epochs[name] = epoch, trainer.global_step
                self._likelihoods[name] = likelihoods.clone()
                self._best[name] = own
            else:
                self._latest[name] = own
                _set_weights(pl_module, self._best[name])
        chosen = torch.stack([self._likelihoods[name] for name in net.members], dim=1)
        chosen = pl_module.task.temper(chosen, rows)  # type: ignore[union-attr, operator]
        weights = choose_weights(chosen, rows, prior=self.prior)
        net.weigh(weights)
        self.found[epoch] = _describe_kinds(chosen, rows, weights, [*net.members])
        for name, weights_then in self._best.items():
            if weights_then:
                self.found[epoch][name] |= dict(zip(("epoch", "step"), self._epochs[name], strict=True))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for weights in self._latest.values():
            _set_weights(pl_module, weights)
        self._latest = {}
        super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        for weights in self._best.values():
            _set_weights(pl_module, weights)

    def state_dict(self) -> dict[str, Any]:
        own = {"found": self.found, "epochs": self._epochs, "likelihoods": self._likelihoods}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.found, self._epochs = state_dict["found"], state_dict["epochs"]
        self._likelihoods = state_dict["likelihoods"]

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        # What was scored is the model; the latest averages are for a resume.
        best = {key: weight for weights in self._best.values() for key, weight in weights.items()}
        checkpoint["latest_average"] = {key: checkpoint["state_dict"][key] for key in best}
        checkpoint["state_dict"].update(best)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        best, average = checkpoint["state_dict"], checkpoint["latest_average"]
        # Before the first validation there is no best epoch.
        for name in pl_module.net.members if average else ():  # type: ignore[union-attr]
            self._best[name] = {key: best[key] for key, _ in _parameters(pl_module, name)}
        super().on_load_checkpoint(trainer, pl_module, {**checkpoint, "state_dict": {**best, **average}})


def _measure_likelihoods(trainer: Trainer, pl_module: LightningModule) -> Tensor:
    """Give the likelihood of the label of each validation row by each kind, shape (B, N)."""
    net, task = pl_module.net, pl_module.task
    assert isinstance(net, MixedEnsemble)
    assert isinstance(task, Task)
    # All rows in each process, so that all choose alike.
    rows: Any = loader_of(trainer, "val").dataset
    likelihoods = []
    for indices in torch.arange(len(rows), device=rows.device).split(N_ROWS):  # type: ignore[no-untyped-call]
        numeric, codes, labels, _ = (part.to(pl_module.device) for part in rows[indices])
        members = net.outputs(numeric, codes.long())
        likelihoods.append(torch.stack([task.likelihoods(found, labels) for found in members], dim=1))
    return torch.cat(likelihoods).cpu().double()


def _weights_of_rows(trainer: Trainer) -> Tensor | None:
    """Give weights whose sum is the number of rows that they are worth (`effective_rows`); None without."""
    rows: Any = loader_of(trainer, "val").dataset
    if rows.rows.row_weights is None:
        return None
    weights: Tensor = rows.rows.row_weights.cpu().double()
    return weights * (weights.sum() / weights.square().sum())


def _parameters(pl_module: LightningModule, kind: str) -> list[tuple[str, Tensor]]:
    return [item for item in pl_module.named_parameters() if item[0].startswith(f"net.members.{kind}.")]


def _set_weights(pl_module: LightningModule, weights: dict[str, Tensor]) -> None:
    for name, weight in weights.items():
        pl_module.get_parameter(name).data.copy_(weight)


def choose_weights(likelihoods: Tensor, rows: Tensor | None = None, *, prior: float) -> Tensor:
    """Weigh N nets so that their weighted mean has a low log loss.

    Source: Dempster et al., Maximum likelihood from incomplete data via the EM algorithm, 1977: the most
    probable weights of a mixture, their prior a Dirichlet distribution.

    Args:
        likelihoods: Probability that each net gives to the true class of each row, shape (B, N).
        rows: Weight of each row, shape (B,): how many rows it stands for.
        prior: Rows that each net is taken to have been right in beforehand: more make weights more equal.

    Examples:
        >>> right_in_turn = torch.tensor([[0.9, 0.3, 0.3, 0.1], [0.3, 0.9, 0.3, 0.1]])
        >>> choose_weights(right_in_turn.repeat(500, 1), prior=1.0)
        tensor([0.4990, 0.4990, 0.0020, 0.0000])
    """
    likelihoods = likelihoods.clamp_min(torch.finfo(likelihoods.dtype).tiny)
    log_losses = _log_loss(likelihoods, rows)
    is_good = log_losses <= MOST_TIMES_BEST * log_losses.min().clamp_min(TINY_LOG_LOSS)
    priors = prior * is_good.to(likelihoods.dtype)
    weights = priors / priors.sum()
    n_rows = len(likelihoods) if rows is None else rows.sum()
    for _ in range(N_STEPS):
        shares = weights * likelihoods / (likelihoods @ weights)[:, None]
        rows_of_each = shares.sum(dim=0) if rows is None else rows @ shares
        before, weights = weights, (rows_of_each + priors) / (n_rows + priors.sum())
        if (weights - before).abs().max() < TOLERANCE:
            break
    return weights


def _describe_kinds(
    likelihoods: Tensor, rows: Tensor | None, weights: Tensor, names: list[str]
) -> dict[str, dict[str, float]]:
    whole = _log_loss(likelihoods @ weights[:, None], rows)
    found = {}
    for index, name in enumerate(names):
        rest = weights.clone()
        rest[index] = 0
        without = _log_loss(likelihoods @ rest[:, None] / rest.sum(), rows) if rest.any() else whole
        found[name] = {
            "weight": float(weights[index]),
            "nll": float(_log_loss(likelihoods[:, [index]], rows)),
            "gain": float(without - whole),
        }
    return found


def _log_loss(likelihoods: Tensor, rows: Tensor | None) -> Tensor:
    logs = likelihoods.clamp_min(torch.finfo(likelihoods.dtype).tiny).log()
    return -(logs.mean(dim=0) if rows is None else rows @ logs / rows.sum())

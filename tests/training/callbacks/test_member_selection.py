from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from omegaconf import DictConfig

from canopy.data.dataset import load_rows
from canopy.evaluation.inference import Predictor
from canopy.prepare.preprocessor import Encoded
from canopy.runs.fit import fit
from canopy.runs.run import Run
from canopy.training.callbacks.best_checkpoint import BestCheckpoint
from canopy.training.callbacks.member_selection import MemberSelection
from canopy.training.checkpoint import load_checkpoint
from canopy.training.fit import prepare
from packages import composed

pytestmark = pytest.mark.usefixtures("trusted_targets")


@pytest.fixture
def best_config(tensors: Path, tmp_path: Path) -> DictConfig:
    """`preset=best` with small nets, for three epochs."""
    (tmp_path / "run").mkdir()
    return composed(
        *("train", f"pipeline.paths.processed={tensors}", f"run_folder={tmp_path / 'run'}"),
        *("model.net.members.piecewise.width=8", "model.net.members.piecewise_large.width=8"),
        *("preset=best", "trainer=cpu", "trainer.max_epochs=3", "callbacks.progress_bar=null"),
        *("trainer.enable_progress_bar=false", "callbacks.weight_averaging.prior=0.01"),
        "model.net.members.trees.settings.iterations=20",
    )


def test_the_best_checkpoint_predicts_the_weighted_mean(best_config: DictConfig) -> None:
    score = fit(best_config)
    run = Run(best_config.run_folder)
    members = run.record["training"]["members"]
    nets = {name: net for name, net in best_config.model.net.members.items() if net.get("n_members") != 0}
    kinds = [*nets]
    assert [*members] == kinds
    weights = {name: found["weight"] for name, found in members.items()}
    assert sum(weights.values()) == pytest.approx(1)
    assert len({*weights.values()}) == len(kinds) == 8
    kept = load_checkpoint(run.best_checkpoint)["state_dict"]["net.member_weights"]
    counts = [net.get("n_members", 1) for net in nets.values()]
    expected = [weights[name] / n for name, n in zip(kinds, counts, strict=True) for _ in range(n)]
    np.testing.assert_allclose(kept, expected, rtol=1e-6)
    rows = load_rows(run.config.data.folder, "val", run.schema).rows
    encoded = Encoded(rows.numeric.numpy(), rows.categorical.numpy())
    predicted = Predictor(run, batch_size=100, split="val").predict(encoded)
    log_loss = -np.log(predicted[np.arange(len(rows.labels)), rows.labels.numpy()]).mean()
    assert log_loss == pytest.approx(score, rel=1e-5)
    assert score <= min(found["nll"] for found in members.values()) + 0.02


def test_each_kind_is_kept_at_its_best_epoch(best_config: DictConfig) -> None:
    scores: dict[str, list[float]] = {}

    class Watch(Callback):
        def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            for name, found in selection.found.get(trainer.current_epoch + 1, {}).items():
                scores.setdefault(name, []).append(found["nll"])

    # A rate with which kinds get worse again.
    best_config.model.optimizer.lr = 0.3
    best_config.trainer.max_epochs = 6
    run = prepare(best_config)
    selection = run.callback(MemberSelection)
    run.trainer.callbacks.append(Watch())
    run.fit(None)
    for name, found in scores.items():
        assert found == sorted(found, reverse=True), name
    last = selection.found[6]
    epochs = {name: found.get("epoch") for name, found in last.items()}
    assert {*epochs.values()} - {None, 6}
    assert {name for name, epoch in epochs.items() if epoch is None} == {"trees", "random_trees"}
    # Choosing among the epochs again, by the score of the mean, would undo it.
    assert run.callback(BestCheckpoint).best_epoch == 6
    # What is in memory at the end is what was scored.
    rows = run.data.rows("val")
    with torch.inference_mode():
        outputs = run.model.eval().net.outputs(rows.numeric, rows.categorical.long())
        predicted = [members.softmax(dim=2).mean(dim=1) for members in outputs]
    for probabilities, found in zip(predicted, last.values(), strict=True):
        log_loss = -probabilities[torch.arange(len(rows.labels)), rows.labels].log().mean()
        assert float(log_loss) == pytest.approx(found["nll"], rel=1e-5)


def test_windows_of_rows_are_refused_with_trees_or_a_selection(best_config: DictConfig) -> None:
    """Both need all rows at once; found out before training."""
    best_config.data.memory_mib = 8
    with pytest.raises(ValueError, match="memory_mib must be null with trees in the net, which .*; got 8"):
        prepare(best_config)
    members = best_config.model.net.members
    members.update(dict.fromkeys(name for name in members if "trees" in name))
    with pytest.raises(ValueError, match="memory_mib must be null with the callback MemberSelection"):
        prepare(best_config)

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from canopy.run_name import run_name


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["seed=1", "model.optimizer.lr=0.0123456"], "mlp_seed-1_lr-0.0123"),
        (["model.net.hidden=[256, 256]"], "mlp_hidden-256-256"),
        (["preparation@pipeline=uncapped"], "mlp_preparation-pipeline-uncapped"),
        (["~callbacks.early_stopping", "+trainer.note='a=b, c'"], "mlp_callbacks.early_stopping_+note-a-b-c"),
        (["name=ä, ö", "data.folder=${oc.env:HOME}/x"], "mlp_folder-oc.env-HOME-x"),
    ],
)
def test_a_run_s_folder_can_be_typed(overrides: list[str], name: str) -> None:
    """What a command is given as `run=<folder>` is one value to Hydra, without quotes."""
    assert run_name(None, "mlp", overrides) == name
    (parsed,) = OverridesParser.create().parse_overrides([f"run=logs/train/runs/2026-11-23_{name}"])
    assert parsed.value() == f"logs/train/runs/2026-11-23_{name}"

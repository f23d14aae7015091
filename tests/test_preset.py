"""Presets: values that depend on the number of training rows, and what a run keeps of them."""

import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from canopy.preset import Size, leave_out_trees, register_rules, settle
from canopy.runs.fit import fit
from canopy.runs.run import Run
from canopy.tables.draft.draft import draft_table, write_data_set

ROOT = Path(__file__).parents[1]
PRESETS = sorted(path.stem for path in (ROOT / "configs/preset").glob("*.yaml"))


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "configs"), job_name="train"):
        return compose("train", [*overrides])


def set_size(n_rows: int, n_numeric: int) -> None:
    register_rules(lambda _: Size(n_rows, n_numeric))


@pytest.mark.parametrize("preset", PRESETS)
def test_more_rows_make_larger_batches_and_fewer_epochs(preset: str) -> None:
    found = []
    for n_rows in (100, 5_000, 400_000):
        set_size(n_rows, 10)
        cfg = composed(f"preset={preset}")
        found.append((cfg.data.batch_size, -cfg.trainer.max_epochs))
    register_rules()
    assert found == sorted(found)
    assert found[0] != found[-1]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("n_numeric", [139, 140])
def test_the_nets_of_a_wide_table_see_the_features_as_they_are(preset: str, n_numeric: int) -> None:
    set_size(70, n_numeric)
    members = composed(f"preset={preset}").model.net.members
    kinds = {name for name, net in members.items() if net.get("n_members")}
    register_rules()
    assert (kinds == {"plain"}) == ("plain" in kinds) == (n_numeric == 140)


@pytest.mark.usefixtures("trusted_targets")
def test_a_run_keeps_the_values_that_the_rule_gave(tensors: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    cfg = composed(
        *("preset=quick", "trainer=cpu", "trainer.max_epochs=1", "callbacks.progress_bar=null"),
        *(f"pipeline.paths.processed={tensors}", f"run_folder={folder}"),
    )
    assert OmegaConf.is_interpolation(cfg.data, "batch_size")
    fit(cfg)
    assert "by_rows" not in (folder / "config.yaml").read_text()
    config = Run(folder).config
    assert config.data.batch_size == 64
    assert config.model.net.members.periodic.n_members == 4


def test_a_list_is_settled_too() -> None:
    cfg = OmegaConf.create({"hidden": ["${by_rows:{0: 8, 300: 16}}", 4]})
    settle(cfg, Size(500, 10))
    assert OmegaConf.to_container(cfg) == {"hidden": [16, 4]}


def test_the_pipeline_composes_a_preset_before_there_are_tensors(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{row % 7},{row % 2}\n" for row in range(90)))
    folder = tmp_path / "datasets/t"
    write_data_set(draft_table(tmp_path / "t.csv", target="y"), folder)
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("../../configs", str(ROOT / "configs")))
    command = [sys.executable, str(ROOT / "scripts/compose.py")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = (folder / "reports/train_config.yaml").read_text()
    assert "${by_rows:{0: 32" in text
    assert "log_every_n_steps" not in text


@pytest.mark.usefixtures("rule_for_5000_rows")
def test_trees_are_left_out_where_their_package_is_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = composed("preset=best")
    leave_out_trees(cfg)
    assert None not in cfg.model.net.members.values()
    monkeypatch.setattr("canopy.preset.find_spec", lambda name: None)
    leave_out_trees(cfg)
    assert {name for name, net in cfg.model.net.members.items() if net is None} == {"trees", "random_trees"}
    assert "without the members trees, random_trees, which need the package catboost" in caplog.text

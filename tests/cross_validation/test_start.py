"""How a cross-validation starts and resumes: its config and its share of the cores."""

from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from canopy.cross_validation.cross_validate import share_cores
from canopy.cross_validation.start import CONFIG_FILE, choose_config, choose_folder
from packages import composed


def compose(folder: Path, *words: str) -> DictConfig:
    return composed("cross_validate", f"run_folder={folder}", *words)


def test_config_is_that_of_a_training_run_with_the_split_of_the_command(tmp_path: Path) -> None:
    words = ("split.n_folds=4", "split.method=group", "split.column=Slope")
    found = choose_config(compose(tmp_path, *words), words)
    assert {*found} == {*composed("train")}
    expected = {"n_folds": 4, "method": "group", "column": "Slope", "val_size": 0.2}
    assert {key: found.pipeline.split[key] for key in expected} == expected
    assert found.trainer.enable_progress_bar is False


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("callbacks", "best_checkpoint.path", "/elsewhere/a", "must write into its run's folder"),
        ("pipeline", "paths.interim", "/elsewhere/a/interim", "must have its tables in this project"),
    ],
)
def test_a_folder_from_elsewhere_writes_nothing_outside(
    section: str, key: str, value: str, message: str, tmp_path: Path
) -> None:
    cfg = compose(tmp_path, "split.n_folds=2")
    started = choose_config(cfg, ())
    OmegaConf.update(started, f"{section}.{key}", value, force_add=True)
    OmegaConf.save(started, tmp_path / CONFIG_FILE)
    with pytest.raises(ValueError, match=message):
        choose_config(cfg, ["resume=a"])


def test_resume_takes_the_config_of_the_folder(tmp_path: Path) -> None:
    cfg = compose(tmp_path, "split.n_folds=2", "seed=5")
    OmegaConf.save(choose_config(cfg, ()), tmp_path / CONFIG_FILE)
    assert choose_config(compose(tmp_path), [f"resume={tmp_path}", "n_jobs=1"]).seed == 5
    with pytest.raises(ValueError, match="must keep its config; got seed=6: leave it out"):
        choose_config(compose(tmp_path, "seed=6"), [f"resume={tmp_path}", "seed=6"])
    assert choose_folder(str(tmp_path), "default") == str(tmp_path)
    assert choose_folder("auto", str(tmp_path / "runs/new")) == str(tmp_path / "runs/new")


def test_folds_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert [share_cores(*given) for given in ((None, 3), (2, 5), (None, 20), (9, 9))] == [
        (3, 2),
        (2, 4),
        (8, 1),
        (9, 1),
    ]

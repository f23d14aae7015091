"""A run's folder is enough to train it again."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from canopy.runs.fit import fit
from canopy.runs.reproduce import reproduced_config, same_config, same_weights, way_to_the_code
from canopy.runs.run import Run

ROOT = Path(__file__).parents[2]


def train(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "src/train.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def weights_are_same(a: Path, b: Path) -> bool:
    return all(
        same_weights(a / name, b / name) for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt")
    )


@pytest.mark.slow
def test_a_run_is_reproduced_from_its_folder_and_from_its_record(tensors: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    done = train(
        *("experiment=mlp", "trainer=cpu", "trainer.max_epochs=3", "seed=7", "trainer.log_every_n_steps=2"),
        *(
            "model.net.hidden=[16,8]",
            "model.net.dropout=0.2",
            "data.batch_size=16",
            "model.optimizer.lr=0.01",
        ),
        *(f"pipeline.paths.processed={tensors}", f"hydra.run.dir={first}"),
    )
    assert done.returncode == 0, done.stderr
    # Another place, as on a colleague's disk.
    moved = tmp_path / "moved"
    shutil.move(first, moved)
    folder = tmp_path / "from_folder"
    done = train(f"reproduce={moved}", f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    assert f"The weights are those of {moved} to the last bit" in done.stdout
    assert not re.search("Not the same (packages|machine)", done.stdout)
    assert weights_are_same(moved, folder)
    command = json.loads((moved / "run.json").read_text())["commands"][0]["argv"][1:]
    record = tmp_path / "from_record"
    done = train(*command, f"hydra.run.dir={record}")
    assert done.returncode == 0, done.stderr
    assert weights_are_same(moved, record)


@pytest.fixture
def source(train_config: DictConfig, trusted_targets: None) -> Run:
    fit(train_config)
    return Run(train_config.run_folder)


@pytest.fixture
def again(train_config: DictConfig, source: Run, tmp_path: Path) -> DictConfig:
    """The default config of a command that reproduces the run."""
    config = train_config.copy()
    config.run_folder = str(tmp_path / "again")
    config.reproduce = str(source.path)
    (tmp_path / "again").mkdir()
    return config


def test_an_override_makes_it_another_run(
    source: Run, again: DictConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    fit(again, overrides=[f"reproduce={source.path}", "seed=1"])
    reproduced = Run(again.run_folder)
    assert reproduced.config.seed == 1
    assert not same_config(source.config, reproduced.config)
    assert not weights_are_same(source.path, reproduced.path)
    assert "to the last bit" not in caplog.text


def test_a_run_does_not_take_the_folder_of_one_to_go_on_with(source: Run, again: DictConfig) -> None:
    again.resume = str(source.path)
    with pytest.raises(ValueError, match="One of reproduce and resume must be null"):
        fit(again)


@pytest.mark.parametrize("override", ["trainer=gpu", "model.net.depth=3", "~callbacks.early_stopping"])
def test_an_override_of_nothing_in_the_config_is_refused(
    source: Run, again: DictConfig, override: str
) -> None:
    with pytest.raises(ValueError, match=f"takes single values of its own config; found {override}"):
        reproduced_config(source, again, [override])


def test_the_copies_of_the_run_are_not_made_again(source: Run, again: DictConfig) -> None:
    config = source.config
    config.publish.run = "models/trained"
    source.save_config(config)
    assert reproduced_config(source, again, []).publish.run is None


def test_what_differs_is_told(source: Run, again: DictConfig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    record = source.record
    record["packages"]["torch"] = "1.0"
    record["git"] = {"commit": "c" * 40, "dirty": False}
    later = {**record["commands"][0], "overrides": ["trainer.max_epochs=2"]}
    record["commands"].append(later)
    (source.path / "run.json").write_text(json.dumps(record))
    fit(again, overrides=[f"reproduce={source.path}"])
    assert "Not the same packages: torch was 1.0, is 2.13.0" in caplog.text
    assert f"git checkout {'c' * 40}" in caplog.text
    assert "was changed by a later command: trainer.max_epochs=2" in caplog.text
    assert f"The weights are those of {source.path} to the last bit" in caplog.text


def test_the_way_to_the_code_names_uncommitted_changes(source: Run) -> None:
    record = source.record
    (source.path / "git.diff").write_text("a diff")
    (source.path / "run.json").write_text(json.dumps({**record, "git": {"commit": "abc", "dirty": True}}))
    found = way_to_the_code(source)
    assert found.endswith(f"git checkout abc && git apply {source.path}/git.diff")
    (source.path / "run.json").write_text(json.dumps({**record, "git": {"commit": None, "dirty": False}}))
    assert way_to_the_code(source).endswith("was trained without git: its code is not known")


def test_bookkeeping_does_not_make_configs_differ(train_config: DictConfig) -> None:
    other = train_config.copy()
    other.update(name="b", resume_step=3, run_folder="c")
    assert same_config(train_config, other)
    OmegaConf.update(other, "model.net.dropout", 0.5)
    assert not same_config(train_config, other)


def test_the_config_of_an_earlier_version_has_its_present_names(tmp_path: Path) -> None:
    text = """data: {}
pipeline: {}
repeat: null
model: {prior_correction: true, label_smoothing: 0.1}
callbacks: {a: {_target_: canopy.callbacks.confusion_matrix.ConfusionMatrixPicture}}
"""
    (tmp_path / "config.yaml").write_text(text)
    assert Run(tmp_path).config == {
        "data": {},
        "pipeline": {},
        "reproduce": None,
        "model": {
            "logit_adjustment": True,
            "loss": {
                "_partial_": True,
                "_target_": "torch.nn.functional.cross_entropy",
                "label_smoothing": 0.1,
            },
        },
        "callbacks": {"a": {"_target_": "canopy.training.callbacks.confusion_matrix.ConfusionMatrixPlot"}},
    }

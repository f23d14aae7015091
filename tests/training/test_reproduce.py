"""A run's folder is enough to train it again."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from omegaconf import DictConfig

from canopy.runs.environment import git_diff, git_sha
from canopy.runs.fit import fit
from canopy.runs.reproduce import reproduced_config, same_weights
from canopy.runs.run import Run
from canopy.tensors import save_tensors
from canopy.training.checkpoint import load_checkpoint
from packages import ROOT, execute


def train(*arguments: str) -> str:
    return execute("python", "src/train.py", *arguments, folder=ROOT).stdout


def weights_are_same(a: Path, b: Path) -> bool:
    names = ("checkpoints/best.ckpt", "checkpoints/last.ckpt")
    return all(same_weights(a / name, b / name) for name in names)


@pytest.mark.slow
def test_a_run_is_reproduced_from_its_folder_and_from_its_record(tensors: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    train(
        *("experiment=mlp", "trainer=cpu", "trainer.max_epochs=3", "seed=7", "trainer.log_every_n_steps=2"),
        *("model.net.hidden=[16,8]", "model.net.dropout=0.2", "data.batch_size=16"),
        *(f"pipeline.paths.processed={tensors}", f"hydra.run.dir={first}"),
    )
    # Another place, as on a colleague's disk.
    moved = tmp_path / "moved"
    shutil.move(first, moved)
    folder = tmp_path / "from_folder"
    output = train(f"reproduce={moved}", f"hydra.run.dir={folder}")
    assert f"The weights are those of {moved} to the last bit" in output
    assert weights_are_same(moved, folder)
    command = json.loads((moved / "run.json").read_text())["commands"][0]["argv"][1:]
    record = tmp_path / "from_record"
    train(*command, f"hydra.run.dir={record}")
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
    assert not weights_are_same(source.path, reproduced.path)
    assert "to the last bit" not in caplog.text
    again.resume = str(source.path)
    with pytest.raises(ValueError, match="One of reproduce and resume must be null"):
        fit(again)
    for override in ("trainer=gpu", "model.net.depth=3", "~callbacks.early_stopping"):
        with pytest.raises(ValueError, match=f"takes single values of its own config; found {override}"):
            reproduced_config(source, again, [override])


def test_what_differs_is_logged_and_no_copy_made(
    source: Run, again: DictConfig, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level("INFO")
    config, record = source.config, source.record
    config.publish.run = str(tmp_path / "published")
    source.save_config(config)
    record["packages"]["torch"] = "1.0"
    other = load_checkpoint(source.best_checkpoint)
    other["state_dict"]["net.layers.0.bias"] += 1
    save_tensors(other, source.best_checkpoint)
    (source.path / "run.json").write_text(json.dumps(record))
    fit(again, overrides=[f"reproduce={source.path}"])
    assert f"The weights are not those of {source.path}; what differs" in caplog.text
    assert "packages: torch was 1.0, is 2.13.0" in caplog.text
    assert not (tmp_path / "published").exists()


def git(*arguments: str, folder: Path) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_commit_and_diff_give_the_code_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "repository"
    (repository / "src").mkdir(parents=True)
    (repository / "src/old.py").write_text("a = 1\n")
    (repository / ".gitignore").write_text("*.pyc\n")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=first"]):
        git(*command, folder=repository)
    monkeypatch.chdir(repository)
    assert git_diff() == ""
    assert git_sha() == git("rev-parse", "HEAD", folder=repository).strip()
    changes = {"src/old.py": "a = 2\n", "src/new/net.py": "b = 1\n"}
    others = {"src/old.pyc": "not code", "table.csv": "not code either"}
    for name, text in (changes | others).items():
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text(text)
    diff = git_diff()
    monkeypatch.chdir(repository / "src")
    assert git_diff() == diff
    status = git("status", "--short", "--untracked-files=all", folder=repository).splitlines()
    assert status == [" M src/old.py", "?? src/new/net.py", "?? table.csv"], "the index stays as it is"
    clone = tmp_path / "clone"
    git("clone", "--quiet", str(repository), str(clone), folder=tmp_path)
    (tmp_path / "git.diff").write_text(diff)
    git("apply", str(tmp_path / "git.diff"), folder=clone)
    assert {name: (clone / name).read_text() for name in changes} == changes
    assert not (clone / "table.csv").exists()
    monkeypatch.chdir(tmp_path)
    assert (git_sha(), git_diff()) == (None, ""), "without a repository nothing is known"

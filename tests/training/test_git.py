import subprocess
from pathlib import Path

import pytest

from canopy.runs.environment import git_diff, git_sha


def git(*arguments: str, folder: Path) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository"
    (folder / "src").mkdir(parents=True)
    (folder / "src/old.py").write_text("a = 1\n")
    (folder / ".gitignore").write_text("*.pyc\n")
    git("init", "--quiet", folder=folder)
    git("add", ".", folder=folder)
    git("commit", "--quiet", "--message=first", folder=folder)
    monkeypatch.chdir(folder)
    return folder


def test_commit_and_diff_give_the_code_back(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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

"""The rules of the house that a test can check."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("scripts/*.py")])
DVC = (ROOT / "dvc.yaml").read_text()
STAGES = yaml.safe_load(DVC)["stages"]
DATA_STAGES = [*STAGES.keys() - {"train", "evaluate", "baselines", "export", "compress"}]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_holds_one_idea_and_no_data_set(path: Path) -> None:
    text = path.read_text()
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "base", "misc"}
    assert len(text.splitlines()) <= 250
    assert "sys.path" not in text
    if "canopy" in path.parts:
        # An example in a docstring may use the column names of the first task.
        code = re.sub(r'r?""".*?"""', "", text, flags=re.DOTALL)
        assert not re.findall("covertype|cover_type|wilderness|hillshade", text, re.IGNORECASE)
        assert not re.findall("soil_type|elevation", code, re.IGNORECASE)


def test_a_stage_has_a_thin_script_and_imports_no_torch() -> None:
    modules = []
    for stage in DATA_STAGES:
        package = "explore" if stage == "explore" else "prepare"
        assert (ROOT / f"src/canopy/{package}/{stage}.py").is_file()
        assert len((ROOT / f"scripts/{stage}.py").read_text().splitlines()) < 25
        modules += [f"canopy.{package}.{stage}"] if stage != "make_tensors" else []
    code = f"import sys, {', '.join(sorted(modules))}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_dvc_names_each_script_and_no_value_of_params() -> None:
    command = r"(PYTHONPATH=\$\{paths\.src\} )?python (\$\{paths\.\w+\}/\w+\.py)( .*)?"
    for stage, content in STAGES.items():
        folder, script = re.fullmatch(command, content["cmd"], re.DOTALL).group(1, 2)
        # Python finds the package beside the scripts of src/; those of scripts/ must be told of it.
        assert (folder is not None) == ("paths.scripts" in script)
        assert Path(script).stem == stage
        assert script in content["deps"]
    for path in yaml.safe_load((ROOT / "params.yaml").read_text())["paths"].values():
        assert not re.search(rf"- {re.escape(path)}\b", DVC), f"dvc.yaml must use the parameter for {path}"


def run(*command: str | Path, folder: Path = ROOT) -> str:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_a_clone_has_the_line_ends_of_the_commit_and_dvc_compares_it(tmp_path: Path) -> None:
    """With others DVC would take each file for changed, and shells would not run the scripts."""
    folder = tmp_path / "a"
    run("git", "clone", "--quiet", "--shared", "--config", "core.autocrlf=true", ROOT, folder)
    assert not re.search("w/(crlf|mixed)", run("git", "ls-files", "--eol", folder=folder))
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("\nseed: 42", "\nseed: 43"))
    dvc = (sys.executable, "-m", "dvc")
    changed = json.loads(run(*dvc, "params", "diff", "--json", folder=folder))
    assert changed["params.yaml"]["seed"] == {"old": 42, "new": 43, "diff": 1}
    # Nothing of the pipeline is in the clone.
    assert json.loads(run(*dvc, "diff", "--json", "HEAD", folder=folder))["added"] == []


# This field says resume, heartbeat, plot, reports, says about, supports, must, no one, next to, integer,
# is invalid, reproduce, hint, atomic.
WORDS = (
    r"\bgo(es|ing|ne)? on\b|signs? of life|\bpictures?\b|\b(tells|told)\b|\bsays? of\b|\bspeaks? for\b|"
    r"\bshall\b|\bnobody\b|\bbeside\b|whole number|cannot be meant|\bonce more\b|\bway[ _]out\b|"
    r"\bwhole or not at all\b"
)
PATTERNS = ("src/**/*.py", "src/**/*.jinja", "scripts/*.py", "configs/**/*.yaml", "docs/*.md", "README.md")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_words_are_those_of_the_field(pattern: str) -> None:
    for path in ROOT.glob(pattern):
        found = [match[0] for match in re.finditer(WORDS, path.read_text(), re.IGNORECASE)]
        assert not found, f"{path} has {found}: see WORDS"


WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
# The commands of the comment on a pull request, which has no checkout to call make in.
OTHERS = {"printf", "gh", "cat", "echo", "end=end-$(uuidgen)", "{"}


def load(path: Path) -> tuple[dict[Any, Any], list[dict[str, Any]], list[list[str]]]:
    """Give a workflow, its steps, and the words of each command in them."""
    workflow = yaml.safe_load(path.read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    lines = [line for step in steps for line in step.get("run", "").splitlines()]
    return workflow, steps, [words for line in lines if (words := shlex.split(line))]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_only_make_and_has_no_right_that_it_does_not_need(path: Path) -> None:
    workflow, steps, commands = load(path)
    assert "make" in [name for name, *_ in commands]
    for name, *arguments in commands:
        assert name == "make" or name in OTHERS, name
        if name == "make":
            assert next(argument for argument in arguments if not argument.startswith("-")) in TARGETS
    # YAML 1.1 reads the key `on` as true.
    assert "pull_request_target" not in workflow[True]
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 90
        if "write" in job.get("permissions", {}).values():
            # Where there is a right to write, no code of the pull request is.
            assert (name, job["permissions"]) == ("comment", {"pull-requests": "write"})
            assert not any("uses" in step for step in job["steps"])
    for step in steps:
        # GitHub's own actions, which keep no token.
        assert re.fullmatch(r"actions/(checkout|setup-python)@(v\d+|[0-9a-f]{40})|", step.get("uses", ""))
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False
        # What somebody else can choose, such as a branch's name, is no part of a script.
        assert "${{" not in step.get("run", "")


def test_the_steps_are_those_of_the_projects_own_ci() -> None:
    own = re.findall(r"^make ([\w-]+)", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert own == ["install", "lint", "docs", "test-all", "repro"]
    _, _, commands = load(ROOT / ".github/workflows/ci.yml")
    assert [target for _, target, *_ in commands] == ["install", "lint", "docs", "test-all", "small"]

"""The workflows for GitHub: they call make, with no more rights than they need."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
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
        writes = [right for right, level in job.get("permissions", {}).items() if level == "write"]
        if writes:
            # Where there is a right to write, no code of the pull request is.
            uses = [step["uses"] for step in job["steps"] if "uses" in step]
            assert (name, writes, uses) == ("comment", ["pull-requests"], [])
    for step in steps:
        if "uses" in step:
            # GitHub's own actions, which keep no token.
            assert re.fullmatch(r"actions/(checkout|setup-python)@(v\d+|[0-9a-f]{40})", step["uses"])
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False
        # What somebody else can choose, such as a branch's name, is no part of a script.
        assert "${{" not in step.get("run", "")


def test_the_steps_are_those_of_the_projects_own_ci() -> None:
    own = re.findall(r"^make ([\w-]+)", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert own == ["lint", "docs", "test-all", "repro"]
    workflow, _, commands = load(ROOT / ".github/workflows/ci.yml")
    assert [target for _, target, *_ in commands] == ["install", "lint", "docs", "test-all", "small"]
    (job,) = workflow["jobs"].values()
    assert job["strategy"]["matrix"]["os"] == ["ubuntu-latest", "macos-latest"]

"""The workflows for GitHub: they call make, with no more rights than they need."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
# The commands of the comment on a pull request, which has no checkout to call make in.
OTHERS = {"printf", "gh", "cat", "echo", "end=end-$(uuidgen)", "{"}


def load(path: Path) -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true.
    return {"on" if key is True else key: value for key, value in yaml.safe_load(path.read_text()).items()}


def steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


def commands(workflow: dict[str, Any]) -> list[list[str]]:
    lines = [line.strip() for step in steps(workflow) for line in step.get("run", "").splitlines()]
    return [shlex.split(line) for line in lines if line]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_only_make_and_has_no_right_that_it_does_not_need(path: Path) -> None:
    workflow = load(path)
    called = commands(workflow)
    assert "make" in [name for name, *_ in called]
    for name, *arguments in called:
        assert name == "make" or name in OTHERS, name
        if name == "make":
            target = next(argument for argument in arguments if not argument.startswith("-"))
            assert target in TARGETS, target
    assert "pull_request_target" not in workflow["on"]
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 90
        writes = [right for right, level in job.get("permissions", {}).items() if level == "write"]
        uses = [step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step]
        if writes:
            # Where there is a right to write, no code of the pull request is.
            assert (name, writes, uses) == ("comment", ["pull-requests"], [])
    for step in steps(workflow):
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
    workflow = load(ROOT / ".github/workflows/ci.yml")
    called = [arguments[0] for _, *arguments in commands(workflow)]
    assert called == ["install", "lint", "docs", "test-all", "small"]
    (job,) = workflow["jobs"].values()
    assert job["strategy"]["matrix"]["os"] == ["ubuntu-latest", "macos-latest"]

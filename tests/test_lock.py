"""pyproject.toml, the lock, environment.yml and what is installed agree."""

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = dict(
    re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)", line.partition("#")[0].strip()).groups()
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if line.partition("#")[0].strip()
)
PINS = {canonicalize_name(name): version for name, version in LOCK.items()}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [Requirement(line) for line in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]]
INSTALLED = {canonicalize_name(item.name): item for item in distributions()}


@pytest.mark.parametrize("requirement", DIRECT, ids=str)
def test_the_lock_satisfies_each_direct_dependency(requirement: Requirement) -> None:
    pinned = PINS[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pinned, prereleases=True)


def test_the_lock_holds_what_the_direct_dependencies_need_and_nothing_else() -> None:
    needed: set[tuple[str, str]] = set()
    waiting = list(DIRECT)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras} - {extra for seen, extra in needed if seen == name}:
            needed.add((name, extra))
            environment = {**default_environment(), "extra": extra}
            candidates = [Requirement(line) for line in INSTALLED[name].requires or []]
            # What a pinned package pins itself, such as torch its CUDA libraries, is pinned through it.
            waiting += [
                c
                for c in candidates
                if (c.marker is None or c.marker.evaluate(environment))
                and not (name == "torch" and str(c.specifier).startswith("=="))
            ]
    assert {name for name, _ in needed} == PINS.keys(), 'run "make lock"'


@pytest.mark.parametrize("name", sorted(PINS))
def test_what_is_installed_is_what_is_locked(name: str) -> None:
    assert INSTALLED[name].version.partition("+")[0] == PINS[name], 'run "make install"'


def test_the_lock_names_no_local_build() -> None:
    assert not [pin for pin in PINS.values() if "+" in pin]


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_the_malicious_releases_of_lightning_are_excluded(version: str) -> None:
    lightning = next(requirement for requirement in DIRECT if requirement.name == "lightning")
    assert not lightning.specifier.contains(version)


def test_conda_installs_the_same_lock_on_the_same_python() -> None:
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert "python=3.11" in dependencies
    assert PROJECT["requires-python"] == ">=3.11,<3.12"
    assert {"pip": ["--requirement requirements.lock", "--editable ."]} in dependencies

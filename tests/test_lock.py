"""pyproject.toml, the lock, environment.yml and what is installed agree."""

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
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


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_the_lock_holds_what_the_direct_dependencies_need_and_nothing_else(python: str) -> None:
    assert python in SpecifierSet(PROJECT["requires-python"])
    needed: set[tuple[str, str]] = set()
    waiting = list(DIRECT)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras} - {extra for seen, extra in needed if seen == name}:
            needed.add((name, extra))
            environment = {**default_environment(), "extra": extra, "python_version": python}
            environment["python_full_version"] = f"{python}.0"
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


class Hashed(NamedTuple):
    """An entry of `requirements.hashed.lock`."""

    requirement: Requirement
    hashes: list[str]
    needed_by: set[str]


def hashed_lock() -> dict[str, Hashed]:
    text = (ROOT / "requirements.hashed.lock").read_text()
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if not entry.startswith("#")]
    found = {}
    for entry in entries:
        requirement = Requirement(entry.partition("\\")[0])
        via = re.search(r"# via (.*)", entry)
        assert via, entry
        names = {canonicalize_name(name) for name in via[1].replace(" (pyproject.toml)", "").split(", ")}
        hashes = re.findall(r"--hash=(\S+)", entry)
        found[canonicalize_name(requirement.name)] = Hashed(requirement, hashes, names)
    return found


HASHED = hashed_lock()
SYSTEMS = [
    {"sys_platform": name, "platform_system": system, "platform_machine": machine, "os_name": "posix"}
    for name, system, machine in (
        *(("linux", "Linux", "x86_64"), ("linux", "Linux", "aarch64")),
        ("darwin", "Darwin", "arm64"),
    )
]


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: "-".join(system.values()))
def test_the_hashed_lock_is_the_lock(system: dict[str, str]) -> None:
    for name, version in PINS.items():
        entry = HASHED[name].requirement
        assert str(entry.specifier) == f"=={version}", 'run "make lock"'
        assert entry.marker is None or entry.marker.evaluate({**default_environment(), **system})


def test_what_only_the_hashed_lock_has_comes_with_torch_on_linux() -> None:
    """The torch of the package index needs CUDA there; that of the lock, whichever is installed, may not."""
    more = HASHED.keys() - PINS.keys()
    assert more
    mac = {**default_environment(), **SYSTEMS[-1]}
    for name in more:
        entry = HASHED[name]
        assert entry.needed_by <= {"torch", *more}
        assert entry.requirement.marker is not None
        assert not entry.requirement.marker.evaluate(mac)


def test_each_entry_has_hashes() -> None:
    for name, entry in HASHED.items():
        assert entry.hashes, name
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", value) for value in entry.hashes)


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements.hashed.lock", "docker/requirements.txt"])
def test_a_lock_names_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search("^--?(index|extra-index|find-links|trusted)", text, re.MULTILINE)


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_the_malicious_releases_of_lightning_are_excluded(version: str) -> None:
    lightning = next(requirement for requirement in DIRECT if requirement.name == "lightning")
    assert not lightning.specifier.contains(version)
    # The same code under its older name, which lightning or another package could ask for.
    for name in ("lightning", "pytorch-lightning"):
        assert PINS[name] != version
        assert not HASHED[name].requirement.specifier.contains(version)


def test_conda_installs_the_same_lock_on_the_same_python() -> None:
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert f"python{PROJECT['requires-python']}" in dependencies
    assert {"pip": ["--requirement requirements.lock", "--editable ."]} in dependencies

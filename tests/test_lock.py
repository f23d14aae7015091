"""pyproject.toml, the lock, environment.yml and what is installed agree."""

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()
PINS = {canonicalize_name(n): v for n, v in re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.MULTILINE)}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [Requirement(line) for line in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]]
RAY_LOCK = (ROOT / "requirements.ray.lock").read_text()
RAY_PINS = {canonicalize_name(n): v for n, v in re.findall(r"^([\w.-]+)==(\S+)", RAY_LOCK, re.MULTILINE)}
RAY = [Requirement(line) for line in PROJECT["optional-dependencies"]["ray"]]
INSTALLED = {canonicalize_name(item.name): item for item in distributions()}


def test_the_lock_satisfies_each_direct_dependency_and_is_installed() -> None:
    for requirement in DIRECT:
        pinned = PINS[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pinned, prereleases=True), requirement
    found = {name: INSTALLED[name].version.partition("+")[0] for name in PINS}
    assert found == PINS, 'run "make install"; the lock names no local build'
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert f"python{PROJECT['requires-python']}" in conda
    assert {"pip": ["--requirement requirements.lock", "--editable ."]} in conda


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_the_lock_holds_what_the_direct_dependencies_need_and_nothing_else(python: str) -> None:
    assert python in SpecifierSet(PROJECT["requires-python"])
    assert needed_by(DIRECT, python) == PINS.keys(), 'run "make lock"'


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_the_lock_of_ray_holds_what_it_needs_besides_and_nothing_else(python: str) -> None:
    assert RAY_LOCK.startswith("--requirement requirements.lock\n")
    if "ray" not in INSTALLED:
        pytest.skip('run "make install LOCK=requirements.ray.lock": Ray is not installed')
    assert needed_by([*DIRECT, *RAY], python) - PINS.keys() == RAY_PINS.keys(), 'run "make lock"'
    assert {name: INSTALLED[name].version for name in RAY_PINS} == RAY_PINS
    for requirement in RAY:
        assert requirement.specifier.contains(RAY_PINS[canonicalize_name(requirement.name)], prereleases=True)


def needed_by(requirements: list[Requirement], python: str) -> set[str]:
    """Name the packages that requirements need, of those that are installed, with a version of Python."""
    versions = {"python_version": python, "python_full_version": f"{python}.0"}
    needed: set[tuple[str, str]] = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras} - {extra for seen, extra in needed if seen == name}:
            needed.add((name, extra))
            environment = {**default_environment(), "extra": extra, **versions}
            for candidate in map(Requirement, INSTALLED[name].requires or []):
                # A torch with CUDA needs its libraries on Linux, which the hashed lock has.
                of_cuda = name == "torch" and "platform_system" in str(candidate.marker)
                if not of_cuda and (candidate.marker is None or candidate.marker.evaluate(environment)):
                    waiting.append(candidate)
    return {name for name, _ in needed}


ENTRIES = re.split(r"\n(?=\S)", (ROOT / "requirements.hashed.lock").read_text())
# Each entry of the hashed lock: its requirement, and all that follows.
PARTS = [entry.partition("\\") for entry in ENTRIES if not entry.startswith("#")]
HASHED = {canonicalize_name(Requirement(line).name): (Requirement(line), rest) for line, _, rest in PARTS}
MAC = {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64", "os_name": "posix"}
LINUX = MAC | {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}


def test_the_hashed_lock_is_the_lock_with_hashes_and_what_torch_needs_on_linux() -> None:
    """The torch of the package index needs CUDA there; that of the lock, whichever is installed, may not."""
    more = HASHED.keys() - PINS.keys()
    assert more
    assert PINS.keys() <= HASHED.keys(), 'run "make lock"'
    for name, (entry, rest) in HASHED.items():
        assert re.match(r"(\s*--hash=sha256:[0-9a-f]{64}( \\)?\n)+", rest), name
        if name in more:
            assert {*re.search("# via (.*)", rest)[1].split(", ")} <= {"torch", *more}
            assert not entry.marker.evaluate({**default_environment(), **MAC})
        else:
            assert str(entry.specifier) == f"=={PINS[name]}", 'run "make lock"'
            for system in (MAC, LINUX, LINUX | {"platform_machine": "aarch64"}) if entry.marker else ():
                assert entry.marker.evaluate({**default_environment(), **system})


def test_a_lock_names_no_host() -> None:
    for path in (*ROOT.glob("requirements*.lock"), ROOT / "docker/requirements.txt"):
        text = path.read_text()
        assert not re.search("://|^--?(index|extra-index|find-links|trusted)", text, re.MULTILINE)


def test_the_malicious_releases_of_lightning_are_excluded() -> None:
    (lightning,) = (requirement for requirement in DIRECT if requirement.name == "lightning")
    for version in ("2.6.2", "2.6.3"):
        assert not lightning.specifier.contains(version)
        # The same code under its older name, which lightning or another package could ask for.
        for name in ("lightning", "pytorch-lightning"):
            assert PINS[name] != version
            assert not HASHED[name][0].specifier.contains(version)

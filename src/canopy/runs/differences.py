"""In what two runs differ: config, code, data, packages, machine."""

from dataclasses import dataclass
from typing import Any

from canopy.files import sha256
from canopy.runs.keys import flatten
from canopy.runs.listed import ListedRun
from canopy.runs.run_folder import BOOKKEEPING, DIFF

_ABSENT: Any = object()


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A key that two runs do not have in common; None means a key that one of them lacks."""

    key: str
    a: Any
    b: Any


def find_differences(a: ListedRun, b: ListedRun) -> dict[str, list[Difference]]:
    """Compare two runs.

    Args:
        a: The first.
        b: The second.

    Returns:
        Differences by group. Config values are compared as written: of a value and those that follow it by
        interpolation, only the first is named. What only says where files go is left out.
    """
    return {
        "config": _config_differences(a, b),
        "code": _differences(_code(a), _code(b)),
        "data": _differences(_data(a), _data(b)),
        "packages": _differences(_section(a, "packages"), _section(b, "packages")),
        "machine": _differences(_section(a, "machine"), _section(b, "machine")),
    }


def _config_differences(a: ListedRun, b: ListedRun) -> list[Difference]:
    written = [item.key for item in _differences(a.config, b.config)]
    deciding = [key for key in written if key.partition(".")[0] not in BOOKKEEPING]
    return [
        Difference(key=key, a=a.value(key), b=b.value(key))
        for key in deciding
        if a.value(key) != b.value(key) or (key in a.config) != (key in b.config)
    ]


def _code(run: ListedRun) -> dict[str, Any]:
    code = _section(run, "git")
    if code.get("dirty") and (run.path / DIFF).is_file():
        code["uncommitted changes"] = sha256(run.path / DIFF)
    return code


def _data(run: ListedRun) -> dict[str, Any]:
    return _section(run, "data") | _section(run, "files")


def _section(run: ListedRun, name: str) -> dict[str, Any]:
    content = run.record.get(name)
    return flatten(content) if isinstance(content, dict) else {}


def _differences(a: dict[str, Any], b: dict[str, Any]) -> list[Difference]:
    return [
        Difference(key=key, a=a.get(key), b=b.get(key))
        for key in dict.fromkeys([*a, *b])
        if a.get(key, _ABSENT) != b.get(key, _ABSENT)
    ]

"""In what two runs differ: config, code, data, packages, machine."""

from typing import Any, NamedTuple

from canopy.files import sha256
from canopy.runs.keys import flatten
from canopy.runs.run import BOOKKEEPING, DIFF, Run


class Difference(NamedTuple):
    """A key that two runs do not have in common; None means a key that one of them lacks."""

    key: str
    a: Any
    b: Any


def find_differences(a: Run, b: Run) -> dict[str, list[Difference]]:
    """Compare two runs; the differences by group.

    Config values are compared as written: of a value and those that follow it by interpolation, only the
    first is named. What only says where files go is left out.
    """
    absent, second = object(), _facts(b)
    return {
        group: [
            Difference(key, facts.get(key), second[group].get(key))
            for key in {**facts, **second[group]}
            if facts.get(key, absent) != second[group].get(key, absent)
        ]
        for group, facts in _facts(a).items()
    }


def _facts(run: Run) -> dict[str, dict[str, Any]]:
    values = run.config_values.items()
    config = {key: value for key, value in values if key.partition(".")[0] not in BOOKKEEPING}
    sections = ("git", "data", "files", "packages", "machine")
    code, data, files, packages, machine = (flatten(run.record.get(name, {})) for name in sections)
    if code.get("dirty") and (run.path / DIFF).is_file():
        code["uncommitted changes"] = sha256(run.path / DIFF)
    return {"config": config, "code": code, "data": data | files, "packages": packages, "machine": machine}

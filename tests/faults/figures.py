"""The table of what the fault suite found to be survived."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest


class Figures:
    """Adds up what the tests counted, as their reports come in from all processes.

    Args:
        path: JSON file to write at the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.skipped: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.outcomes["failed"] += 1
        elif report.skipped:
            self.outcomes["skipped"] += 1
            self.skipped.add(str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.nodeid))
        elif report.when == "call":
            self.outcomes["passed"] += 1
            for name, number in report.user_properties:
                if name.startswith("faults."):
                    self.counts[name.removeprefix("faults.")] += number

    def pytest_sessionfinish(self) -> None:
        table: dict[str, Any] = {}
        for name, number in sorted(self.counts.items()):
            kind, _, of = name.partition(".")
            table.setdefault(kind, {})[of] = number
        content = {
            "losses": self.outcomes["failed"],
            "tests": {kind: self.outcomes[kind] for kind in ("passed", "failed", "skipped")},
            "not_tried": sorted(self.skipped),
            "totals": {kind: sum(of.values()) for kind, of in table.items() if kind != "memory"},
            **table,
        }
        self.path.write_text(json.dumps(content, indent=2) + "\n")

"""Find training runs and read what their folders hold, also when a file in them is damaged."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from canopy.files import PARAMS, read_json
from canopy.places import as_typed, describe_place
from canopy.run_name import BOOKKEEPING
from canopy.runs.keys import flatten, resolve
from canopy.runs.process import is_alive
from canopy.runs.run_folder import CONFIG, METRICS, RECORD

# Short names of what is asked for most.
ALIASES = {"epochs": "training.epochs", "seconds": "training.train_seconds", "best": "best.score"}
# What every run has, whatever its files hold.
OWN_KEYS = ("name", "path", "status", "started", "overrides")
# Known also when no run has them yet.
STANDARD_KEYS = (*OWN_KEYS, *ALIASES, *ALIASES.values(), "test.accuracy")


class ListedRun:
    """A run folder, read as far as it can be read.

    Args:
        path: The folder.
        name: What it is called in lists.

    Attributes:
        problems: What could not be read, one line for each file.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self.problems: list[str] = []
        record = self._read_json(RECORD)
        self._damaged = record is None
        self.record: dict[str, Any] = record or {}

    @property
    def status(self) -> str:
        """How the run ended or that it runs; `killed` if its process is gone without having said so."""
        if self._damaged:
            return "damaged"
        if not self.record:
            return "unrecorded"
        status: str = self.record["status"]
        process = self.record.get("process")
        if status == "running" and isinstance(process, dict) and {"host", "pid"} <= process.keys():
            return status if is_alive(process) else "killed"
        return status

    @property
    def started(self) -> str:
        """Time of the start in UTC; that of the folder if the record has none."""
        recorded = self.record.get("started")
        if isinstance(recorded, str):
            return recorded
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC).isoformat(timespec="seconds")

    @property
    def overrides(self) -> str:
        """What the commands of the run changed in its config."""
        commands = self.record.get("commands")
        texts: dict[str, None] = {}
        for command in commands if isinstance(commands, list) else ():
            if isinstance(command, dict) and isinstance(command.get("overrides"), list):
                texts |= dict.fromkeys(str(text) for text in command["overrides"])
        return " ".join(text for text in texts if not text.startswith(BOOKKEEPING))

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What the evaluation found, by split; empty if the run has not been evaluated."""
        return self._read_json(METRICS) or {}

    @cached_property
    def raw_config(self) -> dict[str, Any]:
        """The config as it was written, its interpolations unresolved."""
        path = self.path / CONFIG
        try:
            content = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, yaml.YAMLError) as error:
            self._note(path, str(error))
            return {}
        if not isinstance(content, dict):
            self._note(path, f"a {type(content).__name__}")
            return {}
        return content

    @cached_property
    def config(self) -> dict[str, Any]:
        """Values of `raw_config` by dotted key."""
        return flatten(self.raw_config)

    @cached_property
    def _facts(self) -> dict[str, Any]:
        facts = {**flatten(self.record), **flatten(self.metrics)}
        facts |= {alias: facts.get(key) for alias, key in ALIASES.items()}
        return facts | {key: getattr(self, key) for key in OWN_KEYS} | {"path": str(self.path)}

    @property
    def known(self) -> list[str]:
        """All keys that `value` knows."""
        return list(dict.fromkeys([*self._facts, *self.config]))

    def value(self, key: str) -> Any:
        """Look up a key of the scores, the record or the config; None if the run has no such value."""
        if key in self._facts:
            return self._facts[key]
        return resolve(self.raw_config, key, self.config.get(key))

    def _read_json(self, name: str) -> dict[str, Any] | None:
        """Read a file of the folder: empty if it is not there, None if it is damaged."""
        path = self.path / name
        if not path.exists():
            return {}
        try:
            content = read_json(path)
        except (OSError, ValueError) as error:
            self._note(path, str(error.__cause__ or error))
            return None
        if not isinstance(content, dict) or (name == RECORD and not isinstance(content.get("status"), str)):
            self._note(path, "no status" if isinstance(content, dict) else f"a {type(content).__name__}")
            return None
        return content

    def _note(self, path: Path, found: str) -> None:
        self.problems.append(f"{path} cannot be used; found {' '.join(found.split())}")


def find_runs(folders: Sequence[Path], *, logs: Path) -> list[ListedRun]:
    """Find the runs below some folders, newest first.

    Args:
        folders: Run folders, or folders with runs somewhere below them; all training runs in `logs` if empty.
        logs: Where the project's runs are; in names this part of the path is left out.

    Raises:
        FileNotFoundError: If a folder is not there or holds no run.
    """
    found: dict[Path, Path] = {}
    for folder in folders or [logs / "train"]:
        below = {path.resolve(): path for path in run_folders(folder)}
        if folders and not below:
            state = "none below it" if folder.is_dir() else describe_place(folder) or "no such folder"
            raise FileNotFoundError(
                f"{as_typed(folder)} must be a run or hold runs; found {state}: see {logs}/train/runs"
            )
        found = {**below, **found}
    runs = [ListedRun(path, name_of(path, logs)) for path in found.values()]
    return sorted(runs, key=lambda run: (run.started, run.name), reverse=True)


def check_logs(logs: Path) -> None:
    """Refuse to look for runs where none can be.

    Raises:
        FileNotFoundError: If there is no such folder, or it is not that of a project.
    """
    if (logs / "train").is_dir() or (logs.is_dir() and Path(PARAMS).is_file()):
        return
    found = "a folder without train" if logs.is_dir() else "no such folder"
    raise FileNotFoundError(
        f"Runs must be in {logs}/train of a project; found {found} in {Path.cwd()}: change to the project's "
        "folder, train a run, or name runs or --logs"
    )


def find_run(name: str, *, logs: Path) -> ListedRun:
    """Find one run by its folder, or by its name in the list.

    Raises:
        FileNotFoundError: If there is no such run.
    """
    for path in (Path(name), logs / "train" / "runs" / name, logs / "train" / "multiruns" / name):
        if _is_run(path):
            return ListedRun(path, name_of(path, logs))
    raise FileNotFoundError(
        f"{name} must be a run's folder or name; found "
        f"{describe_place(name) or f'none of that name in {logs.absolute()}/train'}: "
        '"python src/runs.py" lists them'
    )


def name_of(path: Path, logs: Path) -> str:
    """Give a run's name: its folder, without the part of the path that all runs share.

    Examples:
        >>> name_of(Path("logs/train/multiruns/2026-01-31/0"), Path("logs"))
        '2026-01-31/0'
        >>> name_of(Path("models/trained"), Path("logs"))
        'models/trained'
    """
    for shared in (logs / "train" / "runs", logs / "train" / "multiruns"):
        if path.resolve().is_relative_to(shared.resolve()):
            return str(path.resolve().relative_to(shared.resolve()))
    return str(path)


def _is_run(path: Path) -> bool:
    return (path / CONFIG).is_file() or (path / RECORD).is_file()


def run_folders(folder: Path) -> Iterator[Path]:
    """Find the run folders at or below a folder, in the order of their names."""
    if _is_run(folder):
        yield folder
    elif folder.is_dir():
        with os.scandir(folder) as entries:
            below = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False) and e.name[0] != ".")
        for name in below:
            yield from run_folders(folder / name)

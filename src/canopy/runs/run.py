"""A training run, as its folder holds it: config, record, scores, checkpoints, description of its data."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import canopy.preset  # noqa: F401 - the rules of configs
from canopy import run_name
from canopy.files import PARAMS, PREPROCESSOR_FILE, read_json, sha256, write_text
from canopy.places import as_typed, describe_place
from canopy.quoting import escape
from canopy.runs.keys import flatten
from canopy.runs.processes import is_alive
from canopy.schema.tensors import SCHEMA_FILE, Schema

if TYPE_CHECKING:
    from canopy.prepare.preprocessor import Preprocessor

CONFIG = "config.yaml"
BEST_CHECKPOINT = "checkpoints/best.ckpt"
LAST_CHECKPOINT = "checkpoints/last.ckpt"
RECORD = "run.json"
REPORT = "train.json"
EVALUATION = "evaluation"
METRICS = f"{EVALUATION}/metrics.json"
DIFF = "git.diff"

# Keys of the config that do not decide how a run trains.
BOOKKEEPING = ("name", "publish", "reproduce", "resume", "resume_step", "run_folder")

# Short names of what is asked for most.
ALIASES = {"epochs": "training.epochs", "seconds": "training.train_seconds", "best": "best.score"}
# Properties of a run that its files do not hold under these names.
OWN_KEYS = ("name", "path", "status", "started", "overrides")

RESTORE = 'restore it ("dvc checkout" where DVC keeps it) or train again'


class Run:
    """A folder with a training run in it.

    What lists show of a run (`status`, `value`, ...) is read as far as it can be: a damaged file is a line in
    `problems`. What a run is scored, resumed or reproduced with raises an error where it is damaged.
    """

    def __init__(self, path: str | Path, name: str | None = None) -> None:
        self.path = Path(path)
        # In lists.
        self.name = name or str(path)
        self.problems: list[str] = []
        self.best_checkpoint = self.path / BEST_CHECKPOINT
        self.last_checkpoint = self.path / LAST_CHECKPOINT
        if not (self.path / CONFIG).is_file():
            place = describe_place(self.path)
            found = "none in" if place in (None, "a folder") else f"{place},"
            found += f" {as_typed(self.path)}: name one of logs/train/runs"
            raise FileNotFoundError(f"A run folder must hold {CONFIG}; found {found}")

    @property
    def config(self) -> DictConfig:
        """The composed config of the run."""
        path = self.path / CONFIG
        try:
            config = OmegaConf.load(path)
            if missing := {"pipeline", "data", "model"} - {*config}:
                raise ValueError(f"no section {', '.join(missing)}")
        except (yaml.YAMLError, ValueError) as error:
            found = " ".join(str(error).split())
            raise ValueError(f"{path} must be YAML of plain values; found {found}: {RESTORE}") from error
        assert isinstance(config, DictConfig)
        return config

    @property
    def project(self) -> Path:
        """The nearest folder above the run with a `params.yaml`; the working folder if there is none."""
        folders = self.path.absolute().parents
        return next((folder for folder in folders if (folder / PARAMS).is_file()), Path.cwd())

    @property
    def located_config(self) -> DictConfig:
        """The config with the paths of the run's data as the working folder sees them."""
        config, project = self.config, self.project
        if project != Path.cwd():
            OmegaConf.update(config, "data.folder", escape(str(project / config.data.folder)))
            for name, path in config.pipeline.paths.items():
                if name != "format":
                    config.pipeline.paths[name] = escape(str(project / path))
        return config

    def save_config(self, config: DictConfig) -> None:
        """Replace the config by the one that the run is resumed with."""
        write_text(self.path / CONFIG, OmegaConf.to_yaml(config))

    @property
    def record(self) -> dict[str, Any]:
        """What `run.json` holds of the run; empty before it has started to train."""
        return _load_record(path) if (path := self.path / RECORD).is_file() else {}

    @property
    def schema(self) -> Schema:
        """The schema of the data that the run was trained on."""
        return Schema.load(self.path / SCHEMA_FILE)

    @property
    def preprocessor(self) -> "Preprocessor":
        """What was learnt from the run's training rows."""
        # Here, since it imports Arrow.
        from canopy.prepare.preprocessor import Preprocessor

        path, expected = self.path / PREPROCESSOR_FILE, self.schema.sha256[PREPROCESSOR_FILE]
        preprocessor = Preprocessor.load(path)
        if (found := sha256(path)) != expected:
            raise ValueError(
                f"{path} must be the one that the run was trained with, of the SHA-256 {expected[:12]}...; "
                f"got {found[:12]}...: {RESTORE}"
            )
        return preprocessor

    @property
    def status(self) -> str:
        """How the run ended or that it runs; `killed` if its process is gone and has not recorded an end."""
        status: str = self._listed_record["status"]
        process = self._listed_record.get("process")
        return "killed" if status == "running" and process and not is_alive(process) else status

    @property
    def started(self) -> str:
        """Time of the start in UTC; that of the folder if the record has none."""
        changed = datetime.fromtimestamp(self.path.stat().st_mtime, UTC)
        return str(self._listed_record.get("started") or changed.isoformat(timespec="seconds"))

    @property
    def overrides(self) -> str:
        """What the commands of the run changed in its config."""
        commands = self._listed_record.get("commands", [])
        texts = dict.fromkeys(str(text) for command in commands for text in command["overrides"])
        return " ".join(text for text in texts if not text.startswith(run_name.BOOKKEEPING))

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Scores of the evaluation by split; empty if the run has not been evaluated."""
        return self._read(METRICS, read_json, damaged={})

    @cached_property
    def config_values(self) -> dict[str, Any]:
        """Values of the config by dotted key, as they were written: interpolations are not resolved."""
        return flatten(self._written_config)

    def value(self, key: str) -> Any:
        """Look up a key of the scores, the record or the config; None if the run has no such value."""
        value = self._facts.get(key, self.config_values.get(key))
        if "${" in str(value):
            # It stays as it is where it depends on what only the run knew.
            with suppress(OmegaConfBaseException):
                found = OmegaConf.select(OmegaConf.create(self._written_config), key)
                return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
        return value

    @property
    def known(self) -> list[str]:
        """All keys that `value` knows."""
        return list(dict.fromkeys([*self._facts, *self.config_values]))

    @cached_property
    def _facts(self) -> dict[str, Any]:
        facts = {**flatten(self._listed_record), **flatten(self.metrics)}
        facts |= {alias: facts.get(key) for alias, key in ALIASES.items()}
        return facts | {key: getattr(self, key) for key in OWN_KEYS} | {"path": str(self.path)}

    @cached_property
    def _listed_record(self) -> dict[str, Any]:
        return self._read(RECORD, _load_record, damaged={"status": "damaged"}) or {"status": "unrecorded"}

    @cached_property
    def _written_config(self) -> dict[str, Any]:
        return self._read(CONFIG, lambda path: yaml.load(path.read_bytes(), yaml.CSafeLoader), damaged={})

    def _read(self, name: str, load: Callable[[Path], Any], *, damaged: dict[str, Any]) -> dict[str, Any]:
        path = self.path / name
        try:
            return dict(load(path)) if path.exists() else {}
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            found = " ".join(str(error.__cause__ or error).split())
            self.problems.append(f"{path} cannot be used; found {found}")
            return damaged


def _load_record(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = read_json(path, hint=RESTORE)
    sections = ("git", "data", "files", "packages", "machine", "training")
    known = {**{key: {} for key in sections}, **record, **flatten(record)}
    kinds = {"status": str, "commands": list, "process.host": str, "process.pid": int}
    kinds |= dict.fromkeys(sections, dict)
    wrong = [key for key, kind in kinds.items() if not isinstance(known.get(key), kind)]
    for command in [] if wrong else record["commands"]:
        if not isinstance(command, dict) or not isinstance(command.get("overrides"), list):
            wrong = ["overrides of a command"]
    if wrong:
        found = TypeError(f"no {wrong[0]}")
        raise ValueError(f"{path} must be the record of a run; found {found}: {RESTORE}") from found
    return record


def check_same_data(run: Run, data_folder: Path, *, splits: Sequence[str]) -> None:
    """Refuse to resume or to score a run on other splits, or with another preprocessor, than the run's."""
    trained, present = run.schema.sha256, Schema.load(data_folder / SCHEMA_FILE).sha256
    for name in {**trained, **present}:
        is_needed = name == PREPROCESSOR_FILE or name.partition("/")[0] in splits
        before, now = trained.get(name), present.get(name)
        if is_needed and before != now:
            raise ValueError(
                f"{run.path} was trained on data whose {name} has the SHA-256 {str(before)[:12]}...; found "
                f"{str(now)[:12]}... in {data_folder}: restore that data or train again"
            )

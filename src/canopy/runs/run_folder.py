"""Where a run writes: its folder, the copies that were asked for, and no place that a config names."""

import logging
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from canopy.files import PREPROCESSOR_FILE, atomic_folder, read_json, sha256, write_json, write_text
from canopy.places import check_place, check_writable, display_path
from canopy.quoting import write_override
from canopy.runs.run import BEST_CHECKPOINT, CONFIG, DIFF, RECORD, REPORT
from canopy.schema.tensors import SCHEMA_FILE

log = logging.getLogger(__name__)

# All that is needed to evaluate, export or reproduce the run elsewhere.
_PUBLISHED = (CONFIG, BEST_CHECKPOINT, SCHEMA_FILE, PREPROCESSOR_FILE, RECORD, REPORT)

# What writes, in a run's config.
SECTIONS = ("callbacks", "logger", "trainer")

# Options that name a file or folder, in our callbacks and loggers and in Lightning's; `_args_` may.
PATHS = frozenset({"_args_", "default_root_dir", "dir", "dirpath", "folder", "log_dir", "path", "save_dir"})


def start_run_folder(folder: Path, config: DictConfig, data_folder: Path) -> None:
    """Put a new run's config and the description of its data into its folder."""
    path, schema = data_folder / PREPROCESSOR_FILE, read_json(data_folder / SCHEMA_FILE)
    if sha256(path) != schema["sha256"][PREPROCESSOR_FILE]:
        raise ValueError(f'{path} must be the file that {SCHEMA_FILE} names; got another: run "make repro"')
    for name in (SCHEMA_FILE, PREPROCESSOR_FILE):
        write_json(folder / name, read_json(data_folder / name))
    # Last: a folder with a config is a run.
    write_text(folder / CONFIG, OmegaConf.to_yaml(config))


def check_copies(cfg: DictConfig) -> None:
    """Refuse copies of a run that would replace something else."""
    if cfg.publish.run is not None:
        check_place(cfg.publish.run, option="publish.run", marker=RECORD, reads=(cfg.run_folder,))
    if cfg.publish.report is not None:
        check_writable(cfg.publish.report, option="publish.report")


def unpublished_record(folder: Path) -> dict[str, Any]:
    """Give the record of a run that was killed between its end and its copies; empty for any other."""
    record: dict[str, Any] = read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
    return record if record.get("published") is False and record["status"] == "finished" else {}


def finish(cfg: DictConfig, record: dict[str, Any]) -> None:
    """Write the report of a run that has ended, and the copies that were asked for; log how it ended."""
    folder, report, best = Path(cfg.run_folder), record["training"], record["best"]
    write_json(folder / REPORT, report)
    if cfg.publish.report is not None:
        write_json(cfg.publish.report, report)
    if cfg.publish.run is not None:
        publish(folder, Path(cfg.publish.run))
    del record["published"]
    # After a kill before this, the next command does all that again.
    write_json(folder / RECORD, record)
    log.info(
        "Trained %d epochs in %.0f s; best %s %.4f: %s",
        *(report["epochs"], report["train_seconds"], best["monitor"], best["score"]),
        display_path(folder / best["path"]),
    )


def publish(run: Path, target: Path) -> None:
    """Copy the parts of a finished run that later stages need; they appear atomically."""
    with atomic_folder(target) as copy:
        # Only a run of uncommitted code has the last.
        for name in (*_PUBLISHED, *([DIFF] if (run / DIFF).is_file() else [])):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / name, copy / name)
        record = read_json(run / RECORD)
        write_json(copy / RECORD, {key: value for key, value in record.items() if key != "published"})


def check_written_paths(config: DictConfig, folder: Path, *, typed: Sequence[str] = ()) -> None:
    """Refuse a config that has a run write outside its folder, unless by a key that a user typed."""
    for key, value in places_outside(config, folder):
        if not any(key == name or key.startswith(f"{name}.") for name in typed):
            hint = shlex.quote(write_override(f"++{key}", value))
            raise ValueError(
                f"The config of a run or trial must write into its run's folder, {folder}; found "
                f"{key}={value}: add {hint} to the command if that is meant"
            )


def places_outside(config: DictConfig, folder: Path) -> Iterator[tuple[str, str]]:
    """Give each value in a run's config that names a place outside the run's folder, with its key."""
    inside = folder.resolve()
    for section in SECTIONS:
        node = config.get(section)
        content = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
        for key, value in _texts(section, content):
            names_place = not PATHS.isdisjoint(key.split(".")[1:]) or (
                value.startswith(("/", "~")) or ".." in Path(value).parts or "://" in value
            )
            if names_place and not Path(value).resolve().is_relative_to(inside):
                yield key, value


def _texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(f"{key}.{name}", item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(key, item)
    elif isinstance(value, str):
        yield key, value

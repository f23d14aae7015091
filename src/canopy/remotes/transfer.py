"""Push and pull with DVC, and say in one message what went wrong."""

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from dvc.cli import DvcParserError, parse_args
from dvc.exceptions import CheckoutError, DvcException
from dvc.logger import set_loggers_level
from dvc.output import Output
from dvc.repo import Repo
from dvc.ui import ui
from dvc_data.hashfile.tree import Tree

from canopy.places import describe_place
from canopy.remotes.explain import Reason, causes, explain, set_own
from canopy.remotes.settings import current_remote, project_config, require_place
from canopy.remotes.ssh import check_host_keys

# What DVC warns of where a file is nowhere, as it stands in dvc-data 3.18.
NOWHERE = "Some of the cache files do not exist neither locally nor on remote"


Direction = Literal["push", "pull"]


def transfer_command(direction: Direction, words: Sequence[str]) -> None:
    """Do what the scripts `push` and `pull` do: transfer, or end with one message."""
    try:
        transfer(direction, words)
    except (DvcException, OSError, ValueError) as error:
        sys.stdout.flush()
        sys.stderr.write(f"Error: {error}\n")
        sys.stderr.flush()
        # Python's own way out would close a file of the remote that a lost connection left open, in a thread
        # that is gone by then, and wait for ever (sshfs 2026.8).
        os._exit(1)


def transfer(direction: Direction, words: Sequence[str]) -> None:
    """Run `dvc push` or `dvc pull` with the host's key checked.

    Args:
        direction: Which of the two.
        words: Further options of that command, such as `--jobs 2` or a target. With `--verbose` DVC's own
            messages and tracebacks are shown too.

    Raises:
        ValueError: If no remote is set, or its plugin is missing.
        OSError: If the transfer failed.
    """
    try:
        arguments = parse_args([direction, *words])
    except DvcParserError as error:
        command, found = f"dvc {direction}", " ".join(words)
        reason = Reason(f"Options must be those of {command}", found, f'run "{command} --help"')
        raise ValueError(reason) from error
    remote = current_remote(project_config(), arguments.remote)
    require_place(remote["url"])
    _require_key(remote)
    check_host_keys()
    ui.enable()
    log = _Errors(quiet=not arguments.verbose)
    command = arguments.func(arguments)
    if not arguments.targets:
        arguments.targets = _own_pipelines(command.repo)
    with _kept(log), set_loggers_level(logging.DEBUG if arguments.verbose else logging.INFO):
        try:
            failed = command.do_run() != 0
        except Exception as error:  # noqa: BLE001 - told as what it is, below
            log.errors.append(error)
            failed = True
        if failed or log.nowhere:
            outs = _outs(command.repo, arguments.targets)
            store = command.repo.cloud.get_remote(arguments.remote).odb
            raise OSError(_reason(outs, store, remote, log, pushing=direction == "push"))


def _own_pipelines(repo: Repo) -> list[str]:
    """Name the project's pipeline and those that have run: of other data sets DVC would ask for files."""
    pipelines = {Path(stage.path) for stage in repo.index.stages}
    root = Path(repo.root_dir)
    return [
        str(path)
        for path in sorted(pipelines)
        if path.parent == root or path.suffix == ".dvc" or path.with_name("dvc.lock").is_file()
    ]


def _require_key(remote: Mapping[str, Any]) -> None:
    key = remote.get("keyfile")
    if key is not None and not (path := Path(key).expanduser()).is_file():
        found = f"{describe_place(path) or 'none'} at {key}"
        raise FileNotFoundError(Reason("The key file must exist", found, set_own("keyfile=FILE")))


def _reason(
    outs: Sequence[Output], store: Any, remote: Mapping[str, Any], log: "_Errors", *, pushing: bool
) -> Reason:
    reason = explain(remote, log.errors, pushing=pushing)
    if reason is not None:
        return reason
    if pushing and log.nowhere:
        return Reason(
            "Each file of this version must be here or on the remote",
            "some that are at neither",
            'run "make repro" or "make pull", then push again',
        )
    if any(isinstance(error, CheckoutError | FileNotFoundError) for error in causes(log.errors)):
        return _reason_of_absence(outs, store, remote)
    last = str(log.errors[-1]) if log.errors else "an error"
    return Reason("DVC must end without an error", last, "add ARGS=--verbose to see all that it says")


def _reason_of_absence(outs: Sequence[Output], store: Any, remote: Mapping[str, Any]) -> Reason:
    """Ask the remote for a file that did not arrive: DVC takes any failure to look for an absence."""
    absent = next(_absent(outs), None)
    if any(out.use_cache and not out.hash_info for out in outs):
        return Reason("Each stage must have run at this commit", "some that have not", 'run "make repro"')
    if absent is None:
        return Reason("Each file must be taken from the cache", "some that were not", 'run "dvc checkout"')
    path = store.oid_to_path(absent)
    try:
        store.fs.fs.cat_file(path, start=0, end=1)
    except FileNotFoundError:
        return Reason(
            "Each file of this version must be on the remote",
            "some that are not",
            'whoever made it runs "make push" first',
        )
    except Exception as error:  # noqa: BLE001 - told as what it is
        reason = explain(remote, [error], pushing=False)
        return reason or Reason(f"The remote must give {path}", error, "ask its owner")
    return Reason(
        "Each file on the remote must have the content that its name tells",
        f"another in {path}",
        'remove it there, then whoever has the data runs "make push"',
    )


def _absent(outs: Sequence[Output]) -> Iterator[str]:
    """Give the hashes of this version that the cache lacks."""
    for out in outs:
        cache = out.repo.cache.local
        if not (out.use_cache and out.hash_info):
            continue
        if not cache.exists(out.hash_info.value):
            yield out.hash_info.value
        elif out.hash_info.isdir:
            files = Tree.load(cache, out.hash_info)
            yield from (file.value for _, _, file in files if not cache.exists(file.value))


def _outs(repo: Repo, targets: Sequence[str]) -> list[Output]:
    """Give the outputs of the pipelines that a command asks for, else of those of a whole push or pull."""
    asked = {str(Path(target).absolute()) for target in targets}
    return [out for out in repo.index.outs if out.stage.path in asked] or [
        out for out in repo.index.outs if out.stage.path in _own_pipelines(repo)
    ]


class _Errors(logging.Filter):
    """Keeps the errors that DVC logs and, unless all is to be seen, off the screen."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__()
        self.quiet = quiet
        self.errors: list[BaseException] = []
        self.nowhere = False

    def filter(self, record: logging.LogRecord) -> bool:
        absent = record.getMessage().startswith(NOWHERE)
        self.nowhere |= absent
        if record.levelno < logging.ERROR:
            return not (absent and self.quiet)
        if record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])
        return not self.quiet


@contextmanager
def _kept(errors: _Errors) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("dvc", "dvc_objects", "dvc_data")]
    handlers = {handler for logger in loggers for handler in logger.handlers}
    for handler in handlers:
        handler.addFilter(errors)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(errors)

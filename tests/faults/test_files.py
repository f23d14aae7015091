"""Files and folders appear atomically, wherever their writer is killed."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from canopy.files import atomic_folder, atomic_write, exchange, swap_in, write_text

pytestmark = pytest.mark.faults

# Kills its own process at the n-th of the operations that change a file system, then writes again.
WRITER = """
import json, os, signal, sys
from pathlib import Path
from canopy.files import atomic_folder, atomic_write
path, last, seen = Path(sys.argv[1]), int(sys.argv[2]), 0
def count(event, arguments):
    global seen
    if event in {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "tempfile.mkdtemp", "fcntl.flock", "open",
                 "ctypes.dlsym"}:
        seen += 1
        if seen == last:
            os.kill(os.getpid(), signal.SIGKILL)
def write():
    if path.suffix:
        with atomic_write(path) as temporary, temporary.open("w") as file:
            for part in ("new ", "content"):
                file.write(part)
                file.flush()
                open(os.devnull).close()
    else:
        with atomic_folder(path) as folder:
            for name in ("a", "b"):
                (folder / name).write_text("new")
for _ in range(2):
    if (process := os.fork()) == 0:
        sys.addaudithook(count)
        write()
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    found = None
    if path.is_dir():
        found = {entry.name: entry.read_text() for entry in path.iterdir()}
    elif path.exists():
        found = path.read_text()
    print(json.dumps([code, found]), flush=True)
    last = 0
"""
OLD = {"it.x": "old content", "it": {"a": "old", "c": "old"}}
NEW = {"it.x": "new content", "it": {"a": "new", "b": "new"}}


def place(path: Path, content: str | dict[str, str]) -> None:
    if isinstance(content, str):
        path.write_text(content)
    else:
        path.mkdir()
        for name, text in content.items():
            (path / name).write_text(text)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["it.x", "it"], ids=["file", "folder"])
@pytest.mark.parametrize("is_there", [True, False], ids=["replaced", "new"])
def test_kill_at_any_operation_leaves_old_or_new(tmp_path: Path, name: str, is_there: bool) -> None:
    """The same write afterwards goes through, and nothing is left of the killed one."""
    codes = []
    while not codes or codes[-1] != 0:
        path = tmp_path / str(len(codes)) / name
        path.parent.mkdir()
        if is_there:
            place(path, OLD[name])
        command = [sys.executable, "-c", WRITER, path, str(len(codes) + 1)]
        done = subprocess.run(command, capture_output=True, check=True)
        (code, found), after = map(json.loads, done.stdout.splitlines())
        assert code in (0, -signal.SIGKILL)
        assert found in (OLD[name] if is_there else None, NEW[name])
        assert after == [0, NEW[name]]
        assert names(path.parent) == {name}
        codes.append(code)
    assert len(codes) > 5


def test_atomic_write_leaves_what_another_writer_works_in(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_write(path) as slow:
        slow.write_text("slow")
        write_text(path, "quick")
        write_text(path, "quick again")
        assert slow.read_text() == "slow"
    assert path.read_text() == "slow"
    assert names(tmp_path) == {"a.txt"}


def test_atomic_write_removes_only_what_a_killed_writer_of_the_path_left(tmp_path: Path) -> None:
    others = {".b.txt.abcdefgh.tmp", ".a.txt.tmp", ".a.txt.notes.tmp", ".a-1"}
    for name in (".a.txt.abcdefgh.tmp", ".a.txt.ijklmnop.tmp", *others):
        (tmp_path / name).mkdir()
    (tmp_path / ".a.txt.abcdefgh.tmp/half").touch()
    write_text(tmp_path / "a.txt", "whole")
    assert names(tmp_path) == {"a.txt", *others}


def write_often(path: Path, text: str) -> None:
    for _ in range(50):
        with atomic_folder(path) as folder:
            for name in ("a", "b", "c"):
                (folder / name).write_text(text)


@pytest.mark.parametrize("can_exchange", [True, False])
def test_simultaneous_writers_leave_a_whole_folder(
    tmp_path: Path, can_exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reader sees a whole folder; without an exchange there may be none for a moment."""
    for name in ("in", "first", "second"):
        (tmp_path / name).mkdir()
    if not can_exchange:
        monkeypatch.setattr("canopy.files.exchange", lambda first, second: False)
    elif not exchange(tmp_path / "first", tmp_path / "second"):
        pytest.skip("this file system cannot exchange two folders in one step")
    path, n_seen = tmp_path / "in/it", 0
    place(path, OLD["it"])
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write_often, args=(path, str(index))) for index in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            assert not can_exchange
            continue
        found = set(os.listdir(handle))  # noqa: PTH208 - of the folder that was opened
        # One that has been replaced since may be half removed.
        with suppress(FileNotFoundError):
            is_still_there = path.stat().st_ino == os.fstat(handle).st_ino
            assert not is_still_there or found in ({"a", "b", "c"}, {"a", "c"})
            n_seen += is_still_there
        os.close(handle)
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert n_seen > 10
    assert len({(path / name).read_text() for name in ("a", "b", "c")}) == 1
    assert names(path.parent) == {"it"}


@pytest.mark.parametrize("kind", ["nothing", "file", "empty", "full", "link"])
def test_swap_in_replaces_whatever_is_there(tmp_path: Path, kind: str) -> None:
    (tmp_path / "out").mkdir()
    place(tmp_path / "out/new", {"a": "new"})
    path = tmp_path / kind
    if kind == "link":
        path.symlink_to(tmp_path / "out")
    elif kind != "nothing":
        place(path, {"file": "old", "empty": {}, "full": {"b": "old"}}[kind])
    swap_in(tmp_path / "out/new", path)
    assert names(path) == {"a"}
    assert not path.is_symlink()

"""Files and folders appear atomically, wherever their writer is killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from canopy.files import atomic_folder, atomic_write, write_text
from canopy.swap import exchange, swap_in

pytestmark = pytest.mark.faults

# Kills its own process at the n-th of the operations that change a file system.
WRITER = """
import json, os, signal, sys
from canopy.files import atomic_folder, atomic_write
kind, path, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
seen = 0
def count(event, arguments):
    global seen
    changes = event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "tempfile.mkdtemp", "fcntl.flock")
    if changes or event in ("open", "ctypes.dlsym"):
        seen += 1
        if seen == last:
            os.kill(os.getpid(), signal.SIGKILL)
def write():
    if kind == "file":
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
    if os.path.isdir(path):
        found = {name: open(os.path.join(path, name)).read() for name in sorted(os.listdir(path))}
    elif os.path.exists(path):
        found = open(path).read()
    print(json.dumps([code, found]), flush=True)
    last = 0
"""
OLD = {"file": "old content", "folder": {"a": "old", "c": "old"}}
NEW = {"file": "new content", "folder": {"a": "new", "b": "new"}}


def place(path: Path, kind: str) -> None:
    if kind == "file":
        path.write_text("old content")
    else:
        path.mkdir()
        (path / "a").write_text("old")
        (path / "c").write_text("old")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("is_there", [True, False], ids=["replaced", "new"])
def test_kill_at_any_operation_leaves_old_or_new(tmp_path: Path, kind: str, is_there: bool) -> None:
    """The same write afterwards goes through, and nothing is left of the killed one."""
    allowed = (OLD[kind] if is_there else None, NEW[kind])
    codes = []
    while not codes or codes[-1] != 0:
        folder = tmp_path / str(len(codes))
        folder.mkdir()
        if is_there:
            place(folder / "it.x", kind)
        done = subprocess.run(
            [sys.executable, "-c", WRITER, kind, str(folder / "it.x"), str(len(codes) + 1)],
            capture_output=True,
            text=True,
            check=True,
        )
        (code, found), (code_after, found_after) = map(json.loads, done.stdout.splitlines())
        assert code in (0, -signal.SIGKILL)
        assert found in allowed
        assert (code_after, found_after) == (0, NEW[kind])
        assert [path.name for path in folder.iterdir()] == ["it.x"]
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
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_atomic_write_removes_only_what_a_killed_writer_of_the_path_left(tmp_path: Path) -> None:
    others = [".b.txt.abcdefgh.tmp", ".a.txt.tmp", ".a.txt.notes.tmp", ".a-1"]
    for name in (".a.txt.abcdefgh.tmp", ".a.txt.ijklmnop.tmp", *others):
        (tmp_path / name).mkdir()
    # One was killed when it had a lock, the other one before.
    (tmp_path / ".a.txt.abcdefgh.tmp/lock").touch()
    (tmp_path / ".a.txt.abcdefgh.tmp/half").touch()
    write_text(tmp_path / "a.txt", "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", *others}


@pytest.mark.parametrize("can_exchange", [True, False])
def test_simultaneous_writers_leave_a_whole_folder(
    tmp_path: Path, can_exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reader sees a whole folder; without an exchange there may be none for a moment."""
    if not can_exchange:
        monkeypatch.setattr("canopy.swap.exchange", lambda first, second: False)
    elif not can_exchange_in(tmp_path):
        pytest.skip("this file system cannot exchange two folders in one step")
    path, processes = tmp_path / "it", []
    place(path, "folder")
    n_writers, n_times = 4, 50
    for index in range(n_writers):
        process = os.fork()
        if process == 0:
            code = 1
            try:
                for _ in range(n_times):
                    with atomic_folder(path) as folder:
                        for name in ("a", "b", "c"):
                            (folder / name).write_text(str(index))
                code = 0
            finally:
                os._exit(code)
        processes.append(process)
    n_seen = 0
    while processes:
        done, status = os.waitpid(processes[0], os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            processes.pop(0)
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            assert not can_exchange
            continue
        try:
            names = set(os.listdir(handle))  # noqa: PTH208 - of the folder that was opened
            # One that has been replaced since may be half removed.
            with suppress(FileNotFoundError):
                is_still_there = path.stat().st_ino == os.fstat(handle).st_ino
                assert not is_still_there or names in ({"a", "b", "c"}, {"a", "c"})
                n_seen += is_still_there
        finally:
            os.close(handle)
    assert n_seen > 10
    assert len({(path / name).read_text() for name in ("a", "b", "c")}) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["it"]


def can_exchange_in(folder: Path) -> bool:
    paths = folder / "first", folder / "second"
    for path in paths:
        path.mkdir()
    done = exchange(*paths)
    for path in paths:
        path.rmdir()
    return done


def test_swap_in_replaces_whatever_is_there(tmp_path: Path) -> None:
    for kind in ("nothing", "file", "empty", "full", "link"):
        (tmp_path / "new" / kind).mkdir(parents=True)
        (tmp_path / "new" / kind / "a").write_text("new")
        path = tmp_path / kind
        if kind == "file":
            path.write_text("old")
        elif kind == "link":
            path.symlink_to(tmp_path / "full")
        elif kind != "nothing":
            path.mkdir()
            if kind == "full":
                (path / "a").write_text("old")
        swap_in(tmp_path / "new" / kind, path)
        assert [entry.name for entry in path.iterdir()] == ["a"]
        assert (path / "a").read_text() == "new"
        assert not path.is_symlink()
    shutil.rmtree(tmp_path / "new")


def test_full_disk_gives_message_and_leaves_old(tmp_path: Path, mounted: Callable[..., object]) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "-t", "tmpfs", "-o", "size=64k", "tmpfs"):
        write_text(disk / "a.txt", "old")
        with pytest.raises(OSError, match=r"a.txt must be writable; got No space left .* run the same"):
            write_text(disk / "a.txt", "x" * 2**20)
        with (
            pytest.raises(OSError, match="b must be writable; got No space left"),
            atomic_folder(disk / "b") as folder,
        ):
            (folder / "large").write_bytes(bytes(2**20))
        assert (disk / "a.txt").read_text() == "old"
        assert [path.name for path in disk.iterdir()] == ["a.txt"]

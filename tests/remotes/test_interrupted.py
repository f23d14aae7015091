"""Transfers that break off, and disks that fill up: nothing half is taken for whole, the next try goes on."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.remotes.conftest import Gate, Person, Server

SET = ("python", "src/remote.py")
PUSH = ("python", "src/push.py")
PULL = ("python", "src/pull.py")
# Of the 3 MB; what SSH itself says before is some kilobytes.
PART = 1_000_000


def go_through(person: Person, gate: Gate, server: Server, store: Path) -> None:
    """Take the way through the gate, with the server's own key known there."""
    person.trust(gate.port, server.host_key)
    url = f"ssh://127.0.0.1:{gate.port}{store}"
    person.run(*SET, "--url", url, f"keyfile={person.home}/.ssh/id_ed25519")


def go_straight(person: Person, server: Server, store: Path) -> None:
    person.run(*SET, "--url", server.url(store), f"keyfile={person.home}/.ssh/id_ed25519")


@pytest.mark.parametrize("breaks", [False, True], ids=["killed", "connection lost"])
@pytest.mark.parametrize("command", [PUSH, PULL], ids=["push", "pull"])
def test_what_breaks_off_goes_on(
    someone: Person,
    sshd: Server,
    store: Path,
    gate: Callable[..., Gate],
    command: tuple[str, str],
    breaks: bool,
) -> None:
    sshd.admit(someone)
    before = someone.data()
    if command == PULL:
        go_straight(someone, sshd, store)
        someone.run(*PUSH)
        someone.forget_data()
    way = gate(sshd.port, n_bytes=PART, breaks=breaks)
    go_through(someone, way, sshd, store)
    if breaks:
        message = someone.fails(*command)
        assert f"127.0.0.1:{way.port} must answer, to the end of the transfer; found: " in message
        assert "then run the same command again: it goes on with what is missing" in message
    else:
        process = someone.start(*command)
        assert way.shut.wait(60)
        assert process.poll() is None
        process.kill()
        process.communicate()
    # What has its name there is whole; of the large file nothing has.
    there = store if command == PUSH else someone.folder / ".dvc/cache"
    assert len(sshd.objects(there)) < 3
    go_straight(someone, sshd, store)
    someone.run(*command)
    assert len(sshd.objects(there)) == 3
    someone.forget_data()
    someone.run(*PULL)
    assert someone.data() == before


@pytest.mark.parametrize("command", [PUSH, PULL], ids=["push", "pull"])
def test_a_connection_lost_at_any_moment_is_told(
    someone: Person, sshd: Server, store: Path, gate: Callable[..., Gate], command: tuple[str, str]
) -> None:
    """From the greeting (3 kB) by the channel (4) and the file (7 to 8) to its bytes: other errors each."""
    sshd.admit(someone)
    if command == PULL:
        go_straight(someone, sshd, store)
        someone.run(*PUSH)
        someone.forget_data()
    for n_bytes in (2_000, 4_200, 5_500, 6_500, 7_450, 8_000, 30_000):
        way = gate(sshd.port, n_bytes=n_bytes, breaks=True)
        go_through(someone, way, sshd, store)
        message = someone.fails(*command)
        required = f"127.0.0.1:{way.port} must (answer, to the end of the transfer|open an SFTP session); "
        assert re.search(required, message), message
        assert "then run the same command again" in message


@pytest.mark.parametrize("kind", ["ssh", "folder"])
def test_a_full_disk_of_the_remote_is_named(
    someone: Person, sshd: Server, tmp_path: Path, small_disk: Callable[[Path], None], kind: str
) -> None:
    full = tmp_path / "full"
    small_disk(full)
    sshd.admit(someone)
    if kind == "ssh":
        go_straight(someone, sshd, full)
    else:
        someone.run(*SET, "--url", str(full))
    before = someone.data()
    message = someone.fails(*PUSH)
    assert "There must be room " in message
    assert "full disk" in message or "No space left on device" in message
    assert str(full) in message
    assert len(sshd.objects(full)) < 3
    assert len(someone.objects()) == 3
    small_disk(full)
    someone.run(*PUSH)
    someone.forget_data()
    someone.run(*PULL)
    assert someone.data() == before


def test_a_full_disk_here_is_named(
    someone: Person, sshd: Server, store: Path, small_disk: Callable[[Path], None]
) -> None:
    """DVC by itself may leave half a file under a whole one's name, and take it for the data later."""
    sshd.admit(someone)
    go_straight(someone, sshd, store)
    someone.run(*PUSH)
    before = someone.data()
    someone.forget_data()
    cache = someone.folder / ".dvc/cache"
    small_disk(cache)
    message = someone.fails(*PULL)
    assert "There must be room on this project's disk; found: No space left on device" in message
    assert len(someone.objects()) < 3
    small_disk(cache)
    someone.run(*PULL)
    assert someone.data() == before


def test_what_no_file_uses_can_be_dropped(someone: Person, store: Path) -> None:
    someone.run(*SET, "--url", str(store))
    someone.run(*PUSH)
    (someone.folder / "data/small.bin").write_bytes(b"new")
    someone.run("dvc", "add", "data")
    assert len(someone.objects()) == 5
    someone.run("dvc", "gc", "--workspace", typed="y\n")
    assert len(someone.objects()) == 3


def test_a_folder_that_may_not_be_written_is_named(someone: Person, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("the superuser may write anywhere")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    someone.run(*SET, "--url", str(closed))
    assert f"You must be allowed to write to {closed}" in someone.fails(*PUSH)
    shutil.rmtree(closed)

"""Push and pull over a real SSH server: who may, whom to trust."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.remotes.conftest import Person, Server

SET = ("python", "src/remote.py")
PUSH = ("python", "src/push.py")
PULL = ("python", "src/pull.py")


@pytest.fixture
def member(someone: Person, sshd: Server, store: Path) -> Person:
    """Someone who has set the server as the team's remote."""
    key = sshd.admit(someone)
    someone.run(*SET, "--url", sshd.url(store), f"keyfile={key}")
    return someone


def test_what_is_pushed_comes_back(member: Person, sshd: Server, store: Path) -> None:
    before = member.data()
    assert "3 files pushed" in member.run(*PUSH).stdout
    assert len(sshd.objects(store)) == 3
    assert "Everything is up to date" in member.run(*PUSH).stdout
    member.forget_data()
    member.run(*PULL)
    assert member.data() == before
    assert len(member.objects()) == 3


@pytest.mark.parametrize("command", [PUSH, PULL])
def test_another_host_key_is_refused(
    member: Person, sshd: Server, store: Path, tmp_path: Path, command: tuple[str, str]
) -> None:
    """Plain DVC would give it the credentials and take its data."""
    known = member.home / ".ssh/known_hosts"
    right = known.read_text()
    known.write_text("")
    message = member.fails(*command)
    assert f"[127.0.0.1]:{sshd.port} must be in {known}; found: none" in message
    assert f'run "ssh -p {sshd.port} 127.0.0.1" once' in message
    other = tmp_path / "other_key"
    shutil.copy(member.home / ".ssh/id_ed25519.pub", other.with_suffix(".pub"))
    member.trust(sshd.port, other)
    message = member.fails(*command)
    assert f"[127.0.0.1]:{sshd.port} must be the one in {known}; found: another" in message
    assert f"ssh-keygen -R '[127.0.0.1]:{sshd.port}'" in message
    assert sshd.objects(store) == []
    assert len(member.objects()) == 3
    known.write_text(right)
    member.run(*PUSH)


@pytest.mark.parametrize("command", [PUSH, PULL])
def test_a_key_that_the_server_does_not_know_is_refused(
    member: Person, sshd: Server, command: tuple[str, str]
) -> None:
    accepted = sshd.accepted.read_text()
    sshd.accepted.write_text("")
    try:
        message = member.fails(*command)
    finally:
        sshd.accepted.write_text(accepted)
    assert "The server must know you; found: Permission denied for user" in message
    assert 'make remote ARGS="user=NAME keyfile=FILE"' in message
    member.run(*PUSH)


def test_a_wrong_key_file_is_named(member: Person, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    member.run(*SET, f"keyfile={absent}")
    assert f"The key file must exist; found: none at {absent}" in member.fails(*PUSH)
    absent.write_text("no key")
    assert f"must hold a private key; found: Invalid private key in {absent}" in member.fails(*PULL)


@pytest.mark.parametrize("command", [PUSH, PULL])
def test_a_server_that_does_not_answer_is_named(member: Person, command: tuple[str, str]) -> None:
    member.run(*SET, "--url", "ssh://127.0.0.1:1/data")
    message = member.fails(*command)
    assert "127.0.0.1:1 must answer, to the end of the transfer; found: Connect call failed" in message


def test_a_folder_that_cannot_be_is_named(member: Person, sshd: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    member.run(*SET, "--url", sshd.url(tmp_path / "file/store"))
    assert "on 127.0.0.1; found:" in member.fails(*PUSH)


def test_a_file_that_nobody_pushed_is_told_by_pull(member: Person) -> None:
    member.forget_data()
    message = member.fails(*PULL)
    assert (
        'must be on the remote; found: some that are not; whoever made it runs "make push" first' in message
    )


def test_a_push_without_the_files_fails(member: Person) -> None:
    """Plain DVC warns, and ends as if all were there."""
    member.forget_data()
    assert "here or on the remote; found: some that are at neither" in member.fails(*PUSH)


def test_a_damaged_file_of_the_remote_is_not_taken(member: Person, sshd: Server, store: Path) -> None:
    """Plain DVC takes it, unless told to verify."""
    member.run(*PUSH)
    before = member.data()
    largest = max(sshd.objects(store), key=lambda path: path.stat().st_size)
    content = largest.read_bytes()
    largest.chmod(0o600)
    largest.write_bytes(content[:-1] + b"?")
    member.forget_data()
    message = member.fails(*PULL)
    assert f"must have the content that its name tells; found: another in {largest}" in message
    member.objects()
    largest.write_bytes(content)
    member.run(*PULL)
    assert member.data() == before


def test_the_agent_stays_at_home(someone: Person) -> None:
    code = (
        "import dvc.fs; from canopy.remotes.ssh import check_host_keys; check_host_keys()\n"
        "fs = dvc.fs.get_fs_cls({'url': 'ssh://host/folder'})(host='host')\n"
        "assert fs.fs_args['agent_forwarding'] is False and fs.fs_args['known_hosts'] == ()"
    )
    someone.run("python", "-c", code)

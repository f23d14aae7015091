"""A shared folder, and the same folder read by HTTP."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.remotes.conftest import Person

SET = ("python", "src/remote.py")
PUSH = ("python", "src/push.py")
PULL = ("python", "src/pull.py")
KNOWN = "Basic " + base64.b64encode(b"ada:right").decode()


class Guarded(SimpleHTTPRequestHandler):
    """Gives files to who knows the password."""

    def do_GET(self) -> None:
        if self.headers.get("Authorization") == KNOWN:
            super().do_GET()
        else:
            self.send_error(401)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        pass


@pytest.fixture
def server(store: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Guarded, directory=str(store))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture
def member(someone: Person, store: Path) -> Person:
    """Someone whose data is in the shared folder."""
    someone.run(*SET, "--url", str(store))
    assert "3 files pushed" in someone.run(*PUSH).stdout
    return someone


def test_a_pipeline_that_never_ran_is_not_asked_for(member: Person) -> None:
    """The data sets that come with the project need not be anyone's."""
    other = member.folder / "datasets/other"
    other.mkdir(parents=True)
    (other / "dvc.yaml").write_text("stages: {make: {cmd: touch made, outs: [made]}}\n")
    before = member.data()
    assert "Everything is up to date" in member.run(*PUSH).stdout
    member.forget_data()
    done = member.run(*PULL)
    assert member.data() == before
    assert "other" not in done.stdout + done.stderr
    # One that was asked for by name is.
    assert 'run "make repro"' in member.run(*PULL, "datasets/other/dvc.yaml", check=False).stderr


def test_a_folder_gives_back_what_was_pushed(member: Person) -> None:
    before = member.data()
    member.forget_data()
    member.run(*PULL)
    assert member.data() == before


def test_a_single_output_and_the_options_of_dvc_are_passed_on(member: Person) -> None:
    member.forget_data()
    member.run(*PULL, "data", "--jobs", "1")
    assert len(member.data()) == 2
    told = member.run(*PULL, "--verbose")
    assert "DEBUG" in told.stdout


def test_a_damaged_file_of_a_folder_is_not_taken(member: Person, store: Path) -> None:
    largest = max(store.rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    largest.chmod(0o600)
    largest.write_bytes(b"?" + largest.read_bytes()[1:])
    member.forget_data()
    assert f"found: another in {largest}" in member.fails(*PULL)


def test_http_gives_what_the_folder_has(member: Person, server: str) -> None:
    before = member.data()
    member.run(*SET, "--url", server, "user=ada", "password=", typed="right\n")
    member.forget_data()
    member.run(*PULL)
    assert member.data() == before


def test_http_takes_nothing(member: Person, server: str) -> None:
    (member.folder / "data/new.bin").write_bytes(b"new")
    member.run("dvc", "add", "--quiet", "data")
    member.run(*SET, "--url", server, "user=ada", "password=right")
    message = member.fails(*PUSH)
    assert "127.0.0.1 must take files to be pushed to; found: 501 " in message
    assert "push to the storage behind it by SSH, S3 or its folder" in message


def test_a_wrong_password_is_told_from_absent_files(member: Person, server: str) -> None:
    """DVC says of both that the files do not exist, and that everything is up to date."""
    member.run(*SET, "--url", server, "user=ada", "password=wrong")
    member.forget_data()
    message = member.fails(*PULL)
    assert "127.0.0.1 must know you; found: 401 " in message
    assert "wrong" not in message


def test_a_server_that_does_not_answer_is_told_from_absent_files(member: Person) -> None:
    member.run(*SET, "--url", "http://127.0.0.1:1/data")
    member.forget_data()
    assert "127.0.0.1:1 must answer" in member.fails(*PULL)


def test_a_stage_that_has_not_run_is_told(member: Person) -> None:
    member.run("dvc", "stage", "add", "--name", "later", "--outs", "later.txt", "echo > later.txt")
    done = member.run(*PULL, check=False)
    assert done.returncode == 1
    assert "Error: Each stage must have run at this commit; found: some that have not" in done.stderr

"""An SSH server on loopback, and people with a home and their own clone."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# sshd wants to be called by its whole path, which is seldom on a user's own.
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


def make_key(path: Path) -> Path:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True)
    return path


def public(key: Path) -> str:
    return " ".join(key.with_suffix(".pub").read_text().split()[:2])


@dataclass
class Person:
    """Someone with their own home, who works in one folder."""

    home: Path
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.home / ".ssh").mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.mkdir(parents=True, exist_ok=True)
        user = f"[user]\nname = {self.home.name}\nemail = {self.home.name}@example.com\n"
        (self.home / ".gitconfig").write_text(f"{user}[init]\ndefaultBranch = main\n")

    @property
    def environment(self) -> dict[str, str]:
        kept = ("LANG", "LC_ALL", "OMP_NUM_THREADS", "TMPDIR")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "DVC_NO_ANALYTICS": "true",
            "DVC_SITE_CACHE_DIR": str(self.home / "dvc"),
            "PYTHONPATH": "src",
            **self.variables,
        }

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        options: dict[str, Any] = {"cwd": self.folder, "env": self.environment, "stdin": subprocess.DEVNULL}
        done = subprocess.run(command, **options, capture_output=True, text=True, check=False, timeout=300)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def shell(self, commands: str) -> str:
        return self.run("bash", "-ec", commands).stdout


@dataclass
class Server:
    """An OpenSSH server of the test's own, which accepts some public keys."""

    port: int
    host_key: Path
    accepted: Path

    def url(self, folder: Path) -> str:
        return f"ssh://127.0.0.1:{self.port}{folder}"

    def admit(self, person: Person) -> None:
        """Give a person a key that opens the server, and the server's own key."""
        key = make_key(person.home / ".ssh/id_ed25519")
        with self.accepted.open("a") as file:
            file.write(f"{public(key)}\n")
        with (person.home / ".ssh/known_hosts").open("a") as file:
            file.write(f"[127.0.0.1]:{self.port} {public(self.host_key)}\n")


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if SSHD is None:
        pytest.skip("sshd is not installed (Debian: apt-get install openssh-server)")
    folder = tmp_path_factory.mktemp("sshd")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server, log = Server(port, make_key(folder / "host_key"), folder / "accepted"), folder / "log"
    server.accepted.touch(mode=0o600)
    options = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": server.host_key,
        "AuthorizedKeysFile": server.accepted,
        "PidFile": folder / "pid",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "UsePAM": "no",
        # The folders of tests lie where others may write.
        "StrictModes": "no",
        "MaxStartups": "100",
        "Subsystem": "sftp internal-sftp",
    }
    (folder / "config").write_text("".join(f"{key} {value}\n" for key, value in options.items()))
    if os.geteuid() == 0:
        # Where the service has never run; sshd takes no other folder.
        Path("/run/sshd").mkdir(exist_ok=True)
    with log.open("w") as file:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=file)
    try:
        while not log.read_text().startswith("Server listening"):
            assert process.poll() is None, log.read_text()
            time.sleep(0.02)
        yield server
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def new_person(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Person]:
    """Make a person with an empty folder."""

    def make(name: str) -> Person:
        folder = tmp_path_factory.mktemp(name)
        return Person(folder / name, folder / "canopy")

    return make

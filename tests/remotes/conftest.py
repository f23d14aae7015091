"""Real storages on loopback, and people with a home and a clone of their own."""

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from packages import INSTALL

ROOT = Path(__file__).parents[2]
# sshd wants to be called by its whole path, which is seldom on a user's own.
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")

LINKED = ("src", "Makefile", "requirements.lock", "pyproject.toml")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(0.02)


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def make_key(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True)
    return path


def public(key: Path) -> str:
    return " ".join(key.with_suffix(".pub").read_text().split()[:2])


def objects(folder: Path) -> list[Path]:
    """The files of a cache or a storage, each with the content that its name tells."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".tmp"]
    for path in found:
        content = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        assert f"{path.parent.name}{path.name}".removesuffix(".dir") == content, path
    return found


@dataclass
class Person:
    """Someone with a home of their own, who works in one folder."""

    home: Path
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.home / ".ssh").mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.home / ".gitconfig"
        name = self.home.name
        config.write_text(
            f"[user]\nname = {name}\nemail = {name}@example.com\n[init]\ndefaultBranch = main\n"
        )

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

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *command: str, check: bool = True, typed: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            input=typed or "",
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def fails(self, *command: str) -> str:
        """Run what must fail with one message; gives the message."""
        done = self.run(*command, check=False)
        assert done.returncode == 1, done.stdout + done.stderr
        # DVC draws its progress into the same stream.
        lines = [line for text in done.stderr.splitlines() if (line := text.rpartition("\r")[2]).strip()]
        assert lines[-1].startswith("Error: "), done.stderr
        assert not any(word in done.stderr for word in ("Traceback", "ERROR", "WARNING")), done.stderr
        return lines[-1]

    def data(self) -> dict[str, bytes]:
        """The files of the small project."""
        return {path.name: path.read_bytes() for path in (self.folder / "data").iterdir()}

    def forget_data(self) -> None:
        """Be without data and cache, as after a clone."""
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        for path in (self.folder / ".dvc/cache").glob("*"):
            shutil.rmtree(path)

    def objects(self) -> list[Path]:
        return objects(self.folder / ".dvc/cache")

    def trust(self, port: int, key: Path) -> None:
        with (self.home / ".ssh/known_hosts").open("a") as file:
            file.write(f"[127.0.0.1]:{port} {public(key)}\n")

    def add_project(self) -> None:
        """A DVC project with some data, and what the commands of the framework need."""
        self.run("git", "init", "--quiet")
        self.run("dvc", "init", "--quiet")
        for name in LINKED:
            (self.folder / name).symlink_to(ROOT / name)
        (self.folder / ".git/info/exclude").write_text("".join(f"/{name}\n" for name in (*LINKED, ".venv")))
        self.run("bash", "-ec", INSTALL)


@dataclass
class Server:
    """An OpenSSH server of the test's own.

    Args:
        port: Where it listens on loopback.
        host_key: Its key; the public part is beside it.
        accepted: The public keys that may come in.
        log: What it tells.
    """

    port: int
    host_key: Path
    accepted: Path
    log: Path

    def url(self, folder: Path) -> str:
        return f"ssh://127.0.0.1:{self.port}{folder}"

    def objects(self, folder: Path) -> list[Path]:
        return objects(folder)

    def admit(self, person: Person) -> Path:
        """Give a person a key that opens the server, and the server's own key."""
        key = make_key(person.home / ".ssh/id_ed25519")
        with self.accepted.open("a") as file:
            file.write(f"{public(key)}\n")
        person.trust(self.port, self.host_key)
        return key


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if SSHD is None:
        pytest.skip("sshd is not installed (Debian: apt-get install openssh-server)")
    folder = tmp_path_factory.mktemp("sshd")
    server = Server(free_port(), make_key(folder / "host_key"), folder / "accepted", folder / "log")
    server.accepted.touch(mode=0o600)
    options = {
        "ListenAddress": f"127.0.0.1:{server.port}",
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
    with server.log.open("w") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=log)
    try:
        wait_for(lambda: answers(server.port) or process.poll() is not None)
        assert process.poll() is None, server.log.read_text()
        yield server
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def small_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with 3 MB and 5 kB of data under DVC."""
    folder = tmp_path_factory.mktemp("small_project")
    person = Person(folder / "someone", folder / "work")
    person.add_project()
    data = person.folder / "data"
    data.mkdir()
    (data / "large.bin").write_bytes(os.urandom(3_000_000))
    (data / "small.bin").write_bytes(os.urandom(5_000))
    person.run("dvc", "add", "--quiet", "data")
    person.run("git", "add", ".")
    person.run("git", "commit", "--quiet", "--message", "Some data")
    return person.folder


@pytest.fixture
def someone(tmp_path: Path, small_project: Path) -> Person:
    """A person with a copy of the small project."""
    shutil.copytree(small_project, tmp_path / "work", symlinks=True)
    return Person(tmp_path / "someone", tmp_path / "work")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def new_person(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Person]:
    """Make a person with an empty folder."""

    def make(name: str) -> Person:
        folder = tmp_path_factory.mktemp(name)
        return Person(folder / name, folder / "canopy")

    return make


class Gate:
    """A way to a server that lets so many bytes through, then none: stalls, or breaks off.

    Args:
        port: Where the server listens.
        n_bytes: What passes, both ways together.
        breaks: Whether the connections end there, instead of staying silent.
    """

    def __init__(self, port: int, *, n_bytes: int, breaks: bool) -> None:
        self.n_left, self.breaks, self.target = n_bytes, breaks, port
        self.shut = threading.Event()
        self.lock = threading.Lock()
        self.sockets: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            self.sockets += [client, server]
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=ends, daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while block := source.recv(65536):
                with self.lock:
                    self.n_left -= len(block)
                    if self.n_left < 0:
                        self.shut.set()
                if self.shut.is_set():
                    break
                target.sendall(block)
        except OSError:
            pass
        if self.breaks or not self.shut.is_set():
            for end in (source, target):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.listener.close()
        for end in self.sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def gate() -> Iterator[Callable[..., Gate]]:
    """Make gates; they are closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(port: int, *, n_bytes: int, breaks: bool = False) -> Gate:
            made = Gate(port, n_bytes=n_bytes, breaks=breaks)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Put a folder onto a disk of one megabyte; the second call with the same folder makes room."""
    mounted: list[Path] = []

    def mount(folder: Path) -> None:
        again = folder in mounted
        options = "remount,size=50m" if again else "size=1m"
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        if not again:
            mounted.append(folder)

    try:
        yield mount
    finally:
        for folder in mounted:
            subprocess.run(["umount", str(folder)], check=True)

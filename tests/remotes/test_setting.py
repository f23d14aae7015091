"""What `make remote` writes: the shared part for git, the rest for one person."""

from __future__ import annotations

import configparser
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from canopy.remotes.address import read_remote

if TYPE_CHECKING:
    from tests.remotes.conftest import Person

ROOT = Path(__file__).parents[2]
SECRET = "s3cr3t-never-in-git"  # noqa: S105 - planted to be looked for
SET = ("python", "src/remote.py")


def written(person: Person, name: str) -> dict[str, str]:
    """The options of the remote in one of the two files."""
    path = person.folder / ".dvc" / name
    if not path.exists():
        return {}
    parser = configparser.ConfigParser()
    parser.read_string("\n".join(line.strip() for line in path.read_text().splitlines()))
    section = "'remote \"storage\"'"
    return dict(parser[section]) if section in parser else {}


KEYS = {"access_key_id": "ID", "secret_access_key": "KEY"}
# An address, options; beside the address without user, query and fragment: what is shared, what is private.
SPLIT = [
    ("ssh://ada:pass%40word@host:22/data", {}, {}, {"user": "ada", "password": "pass@word"}),
    ("ssh://[::1]:2222/data", {"port": "22"}, {"port": "22"}, {}),
    ("ssh://host/data", {"keyfile": "~/k", "timeout": "9"}, {"timeout": "9"}, {"keyfile": "~/k"}),
    ("s3://bucket/data", {"region": "eu-central-1"}, {"region": "eu-central-1"}, {}),
    ("s3://ID:KEY@bucket/data", {}, {}, KEYS),
    ("s3://bucket", {"endpointurl": "http://10.0.0.5:9000"}, {}, {"endpointurl": "http://10.0.0.5:9000"}),
    ("s3://bucket", {"endpointurl": "https://minio:9000"}, {}, {"endpointurl": "https://minio:9000"}),
    ("s3://bucket", {"endpointurl": "https://s3.example.org"}, {"endpointurl": "https://s3.example.org"}, {}),
    ("gdrive://FOLDER_ID/data", {"gdrive_client_secret": "x"}, {}, {"gdrive_client_secret": "x"}),
    ("https://ada:x@host/data", {}, {"auth": "basic"}, {"user": "ada", "password": "x"}),
    ("https://host/data?token=x", {}, {}, {"url": "https://host/data?token=x"}),
    ("https://host/data", {"ssl_verify": "false"}, {"ssl_verify": "false"}, {}),
    ("https://host/data", {"ssl_verify": "own.pem"}, {}, {"ssl_verify": "own.pem"}),
    ("/mnt/team", {}, {}, {}),
]


@pytest.mark.parametrize(("url", "options", "shared", "private"), SPLIT)
def test_what_is_shared_is_told_from_what_is_private(
    url: str, options: dict[str, str], shared: dict[str, str], private: dict[str, str]
) -> None:
    remote = read_remote(url, options)
    bare = re.sub(r"//.*@", "//", url).partition("?")[0]
    assert remote.shared == {"url": bare, "verify": "true", **shared}
    assert remote.private == private


WRONG = [
    ("ftp://host/data", {}, "must begin with one of azure, gdrive, .*; found ftp://"),
    ("ssh://host", {}, "must name a folder of the server; found none; give ssh://host/folder"),
    ("ssh:///data", {}, "must name a host, a bucket or an id; found ssh://"),
    ("ada@host:/data", {}, "must be written as ssh://host/folder; found host:/data"),
    (
        "../store",
        {},
        "must be written from the root, since each clone lies elsewhere; found ../store; give /",
    ),
    ("ssh://host/data", {"pasword": SECRET}, "found 'pasword'; did you mean 'password'?"),
    ("s3://bucket", {"keyfile": "k"}, "An option of s3 must be one that DVC has; found 'keyfile'"),
    ("ssh://host/data", {"port": SECRET}, "Option port must be as DVC takes it: expected int"),
    ("gdrive://ada:x@id", {}, "An option of gdrive must be one that DVC has; found 'user'"),
]


@pytest.mark.parametrize(("url", "options", "message"), WRONG, ids=lambda value: str(value)[:30])
def test_a_wrong_address_or_option_is_refused(url: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")) as caught:
        read_remote(url, options)
    assert SECRET not in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_credentials_stay_out_of_git(someone: Person) -> None:
    done = someone.run("make", "remote", f"URL=ssh://ada:{SECRET}@host/data", "ARGS=keyfile=~/.ssh/id")
    assert SECRET not in done.stdout + done.stderr
    assert written(someone, "config") == {"url": "ssh://host/data", "verify": "true"}
    own = {"url": "ssh://host/data", "user": "ada", "password": SECRET, "keyfile": "~/.ssh/id"}
    assert written(someone, "config.local") == own
    assert (someone.folder / ".dvc/config.local").stat().st_mode & 0o777 == 0o600
    someone.run("git", "add", "--all")
    assert SECRET not in someone.run("git", "diff", "--cached").stdout
    assert someone.run("git", "status", "--short").stdout.split() == ["M", ".dvc/config"]


def test_an_empty_value_is_asked_for(someone: Person) -> None:
    words = ("--url", "s3://bucket", "access_key_id=ID", "secret_access_key=")
    if find_spec("dvc_s3") is None:
        pytest.skip("dvc-s3 is not installed")
    someone.run(*SET, *words, typed=f"{SECRET}\n")
    assert written(someone, "config.local") == {
        "url": "s3://bucket",
        "access_key_id": "ID",
        "secret_access_key": SECRET,
    }
    assert "must not be empty" in someone.fails(*SET, "secret_access_key=")


def test_a_secret_is_piped_in_as_the_guide_says(someone: Person) -> None:
    if find_spec("dvc_s3") is None:
        pytest.skip("dvc-s3 is not installed")
    someone.run(*SET, "--url", "s3://bucket")
    (piped,) = re.findall(r"`(printf .* \| make remote .*)`", (ROOT / "docs/sharing.md").read_text())
    someone.variables["SECRET"] = SECRET
    someone.run("bash", "-ec", piped)
    assert written(someone, "config.local")["secret_access_key"] == SECRET


def test_one_s_own_options_leave_the_shared_part_alone(someone: Person) -> None:
    assert "A remote must be set; found none" in someone.fails(*SET, "user=ada")
    someone.run(*SET, "--url", "ssh://host/data", "user=ada", "password=x")
    before = (someone.folder / ".dvc/config").read_text()
    someone.run(*SET, "user=grace")
    assert (someone.folder / ".dvc/config").read_text() == before
    assert written(someone, "config.local") == {
        "url": "ssh://host/data",
        "user": "grace",
        "password": "x",
    }


def test_a_new_address_forgets_the_old_credentials(someone: Person) -> None:
    """Else the password of one host would go to another."""
    someone.run(*SET, "--url", "ssh://host/data", "user=ada", f"password={SECRET}", "timeout=5")
    someone.run(*SET, "--url", "ssh://other/data")
    assert written(someone, "config") == {"url": "ssh://other/data", "verify": "true"}
    assert written(someone, "config.local") == {"url": "ssh://other/data"}
    assert SECRET not in (someone.folder / ".dvc/config.local").read_text()


def test_credentials_do_not_follow_the_team_to_another_address(someone: Person) -> None:
    """Who can write into the repository cannot have the members' passwords sent elsewhere."""
    someone.run(*SET, "--url", "ssh://host/data", "user=ada", f"password={SECRET}")
    config = someone.folder / ".dvc/config"
    config.write_text(config.read_text().replace("host", "other"))
    message = someone.fails("python", "src/push.py")
    assert "remote, ssh://other/data; found them for ssh://host/data; if the data has moved" in message
    someone.run(*SET, "user=ada")
    assert written(someone, "config.local") == {"url": "ssh://other/data", "user": "ada"}


def test_commits_from_before_the_remote_are_still_read(someone: Person) -> None:
    someone.run(*SET, "--url", "ssh://host/data", "user=ada")
    someone.run("git", "commit", "--quiet", "--all", "--message", "Remote")
    assert someone.run("dvc", "diff", "HEAD~1").stdout == ""


def test_nothing_is_written_where_git_would_take_it(someone: Person) -> None:
    (someone.folder / ".dvc/.gitignore").write_text("/cache\n")
    message = someone.fails(*SET, "--url", "ssh://host/data", f"password={SECRET}")
    assert "Git must ignore config.local; it does not" in message
    assert not (someone.folder / ".dvc/config.local").exists()


def test_a_folder_that_is_not_there_is_refused(someone: Person, tmp_path: Path) -> None:
    """DVC would make it, and push into nothing where the team's disk is not mounted."""
    absent = tmp_path / "absent"
    assert f"The shared folder must exist; found none at {absent}" in someone.fails(
        *SET, "--url", str(absent)
    )
    absent.mkdir()
    someone.run(*SET, "--url", str(absent))
    absent.rmdir()
    assert "The shared folder must exist" in someone.fails("python", "src/push.py")
    assert not absent.exists()


@pytest.mark.parametrize(
    ("url", "way_out"),
    [
        ("gdrive://root", "docs/sharing.md tells how to install it"),
        ("gs://bucket", 'run "pip install dvc-gs"'),
    ],
)
def test_a_missing_plugin_is_named(someone: Person, url: str, way_out: str) -> None:
    scheme = url.partition(":")[0]
    if find_spec(f"dvc_{scheme}") is not None:
        pytest.skip("the plugin is installed")
    message = someone.fails(*SET, "--url", url)
    assert message.endswith(f"must have its package dvc-{scheme} installed; found none; {way_out}")
    assert written(someone, "config") == {}


def test_another_folder_and_wrong_words_are_told(someone: Person, tmp_path: Path) -> None:
    command = ["python", str(ROOT / "src/push.py")]
    outside = tmp_path / "outside"
    outside.mkdir()
    environment = {**someone.environment, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=outside, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == f"Error: Commands must run in the project's folder; found no .dvc in {outside}\n"
    assert "Options must be written key=value; found 'user'" in someone.fails(*SET, "user")
    assert "A remote must be set; found none" in someone.fails("python", "src/pull.py")
    someone.run(*SET, "--url", str(tmp_path))
    done = someone.run("python", "src/push.py", "--jbos", "2", check=False)
    assert done.stderr.endswith('found: --jbos 2; run "dvc push --help"\n')


def test_each_command_of_the_table_of_storages_is_taken(someone: Person, tmp_path: Path) -> None:
    guide = (ROOT / "docs/sharing.md").read_text()
    rows = re.findall(r"^\| [\w, -]+ \| `(make remote .*)` \|$", guide, re.MULTILINE)
    assert len(rows) == 5
    for row in rows:
        command = row.replace("/mnt/team/canopy", str(tmp_path))
        scheme = command.partition("URL=")[2].partition(":")[0]
        if scheme in {"s3", "gdrive"} and find_spec(f"dvc_{scheme}") is None:
            assert f"package dvc-{scheme} installed" in someone.run("bash", "-c", command, check=False).stderr
            continue
        someone.run("bash", "-ec", command, typed="typed\n")
        address = command.partition("URL=")[2].partition(" ")[0]
        assert written(someone, "config")["url"] == address
        assert ("typed" in written(someone, "config.local").values()) == command.endswith('="')

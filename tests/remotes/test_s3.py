"""Push and pull with an S3 server on loopback that asks for keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.remotes.conftest import Person

pytest.importorskip("dvc_s3", reason="dvc-s3 is not installed (it is in the extras s3 and dev)")
pytest.importorskip("moto.server", reason="moto is not installed (it is in the extra dev)")

SET = ("python", "src/remote.py", "--url", "s3://team/canopy")
PUSH = ("python", "src/push.py")
PULL = ("python", "src/pull.py")
# Runs in a process of its own: makes a bucket and a user with keys, prints them; then all must have keys.
SERVER = """
import json, sys, time
import boto3
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
_, port = server.get_host_and_port()
at = {
    "endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1",
    "aws_access_key_id": "setup", "aws_secret_access_key": "setup",
}
boto3.client("s3", **at).create_bucket(Bucket="team")
iam = boto3.client("iam", **at)
iam.create_user(UserName="ada")
rule = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
policy = json.dumps({"Version": "2012-10-17", "Statement": [rule]})
iam.put_user_policy(UserName="ada", PolicyName="all", PolicyDocument=policy)
key = iam.create_access_key(UserName="ada")["AccessKey"]
print(json.dumps([at["endpoint_url"], key["AccessKeyId"], key["SecretAccessKey"]]), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[list[str]]:
    """The server's address, a key's id and its secret."""
    # As many calls as the setting up makes go without keys.
    environment = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "4", "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(20)


@pytest.fixture
def member(someone: Person, server: list[str]) -> Person:
    url, key, secret = server
    words = (f"endpointurl={url}", "region=us-east-1", f"access_key_id={key}", "secret_access_key=")
    someone.run(*SET, *words, typed=f"{secret}\n")
    return someone


def test_what_is_pushed_comes_back(member: Person, server: list[str]) -> None:
    config = (member.folder / ".dvc/config").read_text()
    assert "s3://team/canopy" in config
    assert not any(word in config for word in server)
    before = member.data()
    assert "3 files pushed" in member.run(*PUSH).stdout
    assert "Everything is up to date" in member.run(*PUSH).stdout
    member.forget_data()
    member.run(*PULL)
    assert member.data() == before
    assert len(member.objects()) == 3


@pytest.mark.parametrize("command", [PUSH, PULL])
@pytest.mark.parametrize("wrong", ["access_key_id=nobody", "secret_access_key=wrong"])
def test_wrong_keys_are_refused(member: Person, command: tuple[str, str], wrong: str) -> None:
    member.run("python", "src/remote.py", wrong)
    message = member.fails(*command)
    assert "The bucket team must be open to your keys; found: " in message
    assert 'make remote ARGS="access_key_id=ID secret_access_key="' in message
    member.objects()


def test_a_bucket_that_is_not_there_is_named(member: Person, server: list[str]) -> None:
    config = Path(member.folder / ".dvc/config")
    url, key, secret = server
    words = (f"endpointurl={url}", "region=us-east-1", f"access_key_id={key}", f"secret_access_key={secret}")
    member.run("python", "src/remote.py", "--url", "s3://nobodys/canopy", *words)
    assert "nobodys" in config.read_text()
    assert "The bucket nobodys must exist; found: " in member.fails(*PUSH)


def test_a_server_that_does_not_answer_is_named(member: Person) -> None:
    member.run("python", "src/remote.py", "endpointurl=http://127.0.0.1:1")
    assert "127.0.0.1:1 must answer, to the end of the transfer" in member.fails(*PULL)

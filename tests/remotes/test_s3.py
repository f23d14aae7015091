"""Push and pull with an S3 server on loopback that asks for keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from packages import INSTALL

if TYPE_CHECKING:
    from tests.remotes.conftest import Person

pytest.importorskip("dvc_s3", reason="dvc-s3 is not installed (it is in the extras s3 and dev)")
pytest.importorskip("moto.server", reason="moto is not installed (it is in the extra dev)")

# Runs in its own process: makes a bucket and a user with keys, prints them; then all must have keys.
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
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    # It ends with its input.
    with subprocess.Popen([sys.executable, "-c", SERVER], env=environment, **streams) as process:
        yield json.loads(process.stdout.readline())


def test_what_is_pushed_comes_back(
    new_person: Callable[[str], Person], server: list[str], copy_project: Callable[..., None]
) -> None:
    url, key, secret = server
    ada = new_person("ada")
    copy_project(ada.folder, "Makefile", "src/remote.py", "src/canopy", "requirements.lock", "pyproject.toml")
    (ada.folder / "dvc.yaml").write_text("stages: {make: {cmd: echo rows > rows.csv, outs: [rows.csv]}}")
    ada.shell(f"{INSTALL}; git init --quiet; dvc init --quiet; dvc repro --quiet")
    modify = "dvc remote modify"
    ada.shell(f"make remote URL=s3://team/canopy; {modify} storage endpointurl {url}")
    ada.shell(f"{modify} storage region us-east-1")
    assert ada.run("make", "push", check=False).returncode != 0
    ada.shell(f"{modify} --local storage access_key_id {key}")
    ada.shell(f"{modify} --local storage secret_access_key {secret}")
    shared = (ada.folder / ".dvc/config").read_text()
    assert "s3://team/canopy" in shared
    assert key not in shared
    assert secret not in shared
    assert "1 file pushed" in ada.shell("make push")
    ada.shell("rm -r .dvc/cache rows.csv; make pull")
    assert (ada.folder / "rows.csv").read_text() == "rows\n"

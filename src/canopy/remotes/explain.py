"""Say why a transfer failed: the requirement, what was found, the way out."""

import errno
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import asyncssh
from aiohttp import ClientConnectionError, ClientResponseError
from asyncssh.sftp import (
    SFTPConnectionLost,
    SFTPFailure,
    SFTPNoConnection,
    SFTPNoSpaceOnFilesystem,
    SFTPNoSuchFile,
    SFTPPermissionDenied,
)
from dvc_objects.fs.errors import AuthError

from canopy.places import readable
from canopy.remotes.address import is_folder

RUN_AGAIN = "then run the same command again: it goes on with what is missing"
FULL = {errno.ENOSPC, errno.EDQUOT}

# How asyncssh tells of a connection that is gone: which one depends on what was under way.
# Where the session's first channel fails, sshfs 2026.8 says no more than NO_CHANNEL.
GONE = (asyncssh.DisconnectError, asyncssh.ChannelOpenError, SFTPConnectionLost, SFTPNoConnection)
NO_CHANNEL = "Can't create any SFTP connections!"

# What S3 answers to wrong keys, and what its client says without any.
REFUSED = {
    *("AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "401", "403"),
    *("Forbidden", "InvalidClientTokenId", "NoCredentialsError", "PartialCredentialsError"),
}


class Reason(NamedTuple):
    """Why a transfer failed.

    Args:
        requirement: What must hold.
        found: What was found instead.
        way_out: What to do.
    """

    requirement: str
    found: object
    way_out: str

    def __str__(self) -> str:
        return f"{self.requirement}; found: {self.found}; {self.way_out}"


def explain(remote: Mapping[str, str], errors: Sequence[BaseException], *, pushing: bool) -> Reason | None:
    """Name the reason behind the errors of a transfer.

    Args:
        remote: DVC's options of the remote.
        errors: What was raised or logged, with what each was raised from.
        pushing: Whether it went to the remote.

    Returns:
        The reason, or nothing if it is none that we know.
    """
    # A failure that SSH gives no name to tells the least: it also stands for a folder that is there already.
    for error in sorted(causes(errors), key=lambda error: isinstance(error, SFTPFailure)):
        reason = _of_ssh(error, remote, pushing=pushing) or _of_http(error, remote, pushing=pushing)
        reason = reason or _of_s3(error, remote) or _of_disk(error, remote, pushing=pushing)
        reason = reason or _of_connection(error, remote)
        if reason is not None:
            return reason
    return None


def causes(errors: Sequence[BaseException]) -> Iterator[BaseException]:
    """Give each error after what it was raised from: the first cause first."""
    for error in errors:
        chain = [error]
        while (before := chain[-1].__cause__ or chain[-1].__context__) is not None and before not in chain:
            chain.append(before)
        yield from reversed(chain)


def set_own(options: str) -> str:
    """Tell how to set one's own options of the remote."""
    return f'set your own: make remote ARGS="{options}"'


def _of_ssh(error: BaseException, remote: Mapping[str, str], *, pushing: bool) -> Reason | None:
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return _of_host_key(remote)
    place = urlsplit(remote["url"])
    host, folder = place.hostname, place.path
    if isinstance(error, asyncssh.PermissionDenied):
        way_out = f"have your public key added there, or {set_own('user=NAME keyfile=FILE')}"
        return Reason("The server must know you", error.reason, way_out)
    if isinstance(error, asyncssh.KeyImportError):
        found = f"{error} in {remote.get('keyfile', '~/.ssh')}"
        return Reason("A key file must hold a private key", found, set_own("keyfile=FILE"))
    if isinstance(error, SFTPPermissionDenied):
        return Reason(f"You must be allowed to use {folder} on {host}", error.reason, "ask its owner")
    if isinstance(error, SFTPNoSuchFile) and pushing:
        return Reason(f"There must be a folder {folder} on {host}", error.reason, "have it made")
    if isinstance(error, SFTPFailure | SFTPNoSpaceOnFilesystem) and pushing:
        # Version 3 of the protocol, OpenSSH's, has no code for it.
        found = f"{error.reason}, which is what a full disk says"
        return Reason(f"There must be room in {folder} on {host}", found, f"have room made, {RUN_AGAIN}")
    return None


def _of_host_key(remote: Mapping[str, str]) -> Reason:
    place = urlsplit(remote["url"])
    host, port = place.hostname or "", int(remote.get("port") or place.port or 22)
    name = host if port == 22 else f"[{host}]:{port}"
    once = f'run "ssh -p {port} {host}" once and compare the fingerprint with the one that its owner tells'
    file = Path("~/.ssh/known_hosts").expanduser()
    if file.is_file() and asyncssh.match_known_hosts(str(file), host, "", None if port == 22 else port)[0]:
        return Reason(
            f"The host key of {name} must be the one in {file}",
            "another, of a new server or of someone in between",
            f"ask its owner; if it is new, \"ssh-keygen -R '{name}'\" forgets the old one; {once}",
        )
    return Reason(f"The host key of {name} must be in {file}", "none", once)


def _of_http(error: BaseException, remote: Mapping[str, str], *, pushing: bool) -> Reason | None:
    if not isinstance(error, ClientResponseError):
        return None
    host, found = urlsplit(remote["url"]).hostname, f"{error.status} {error.message}"
    if error.status in {401, 403}:
        return Reason(f"{host} must know you", found, set_own("user=NAME password="))
    if error.status in {404, 405, 501} and pushing:
        way_out = "push to the storage behind it by SSH, S3 or its folder"
        return Reason(f"{host} must take files to be pushed to", found, way_out)
    return Reason(f"{host} must give the files", found, f"ask its owner, {RUN_AGAIN}")


def _of_s3(error: BaseException, remote: Mapping[str, str]) -> Reason | None:
    if not type(error).__module__.startswith("botocore"):
        return None
    answer = getattr(error, "response", {}).get("Error", {})
    code = answer.get("Code", type(error).__name__)
    bucket, found = urlsplit(remote["url"]).netloc, f"{code}: {answer.get('Message') or error}"
    if code in REFUSED:
        return Reason(
            f"The bucket {bucket} must be open to your keys",
            found,
            set_own("access_key_id=ID secret_access_key="),
        )
    if code in {"NoSuchBucket", "404"}:
        return Reason(f"The bucket {bucket} must exist", found, "have it made")
    if code in {"EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError"}:
        return _unreachable(remote, found)
    return None


def _of_disk(error: BaseException, remote: Mapping[str, str], *, pushing: bool) -> Reason | None:
    if not isinstance(error, OSError):
        return None
    outside = pushing and is_folder(remote["url"])
    place = remote["url"] if outside else "this project's disk"
    if error.errno in FULL:
        room = (
            "have room made" if outside else 'make room ("dvc gc --workspace" drops what no file here uses)'
        )
        return Reason(f"There must be room on {place}", error.strerror, f"{room}, {RUN_AGAIN}")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        file = f" for {readable(error.filename)}" if isinstance(error.filename, str) else ""
        return Reason(f"You must be allowed to write to {place}", f"{error.strerror}{file}", "ask its owner")
    return None


def _of_connection(error: BaseException, remote: Mapping[str, str]) -> Reason | None:
    if isinstance(error, AuthError):
        return Reason("The storage must know you", error, set_own("KEY=VALUE"))
    if isinstance(error, (*GONE, ClientConnectionError)):
        return _unreachable(remote, str(error))
    if isinstance(error, ValueError) and str(error) == NO_CHANNEL:
        way_out = f"check that its SSH server offers SFTP, and the network, {RUN_AGAIN}"
        return Reason(f"{_host(remote)} must open an SFTP session", "none", way_out)
    if isinstance(error, socket.gaierror | ConnectionError | TimeoutError):
        return _unreachable(remote, error.strerror or str(error) or type(error).__name__)
    return None


def _unreachable(remote: Mapping[str, str], found: str) -> Reason:
    way_out = f"check the address and the network, {RUN_AGAIN}"
    return Reason(f"{_host(remote)} must answer, to the end of the transfer", found, way_out)


def _host(remote: Mapping[str, str]) -> str:
    place = urlsplit(remote.get("endpointurl") or remote["url"])
    return f"{place.hostname}:{place.port}" if place.port else place.hostname or ""

"""Read the address of a remote: what the team shares, and what is one person's alone."""

import difflib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from dvc.config_schema import REMOTE_SCHEMAS, ByUrl
from voluptuous import Invalid

# Options that say what the storage is, the same for all. Any other, also one that a later DVC brings,
# is one person's: it stays out of git.
SHARED_OPTIONS = frozenset(
    {
        *("acl", "allow_anonymous_login", "auth", "checksum_jobs", "connect_timeout", "endpointurl"),
        *("gdrive_acknowledge_abuse", "gdrive_trash_only", "gdrive_use_service_account", "gss_auth"),
        *("jobs", "max_sessions", "method", "port", "read_timeout", "region", "shared", "sse", "timeout"),
        *("type", "url", "use_ssl", "verify", "version_aware", "worktree"),
    }
)


@dataclass(frozen=True)
class Remote:
    """DVC's options of a remote.

    Args:
        shared: What every member has: `.dvc/config`, in git.
        private: What one member has: `.dvc/config.local`, never in git.
    """

    shared: dict[str, str] = field(default_factory=dict)
    private: dict[str, str] = field(default_factory=dict)


def read_remote(url: str, options: Mapping[str, str]) -> Remote:
    """Take an address and options apart into what is shared and what is private.

    Args:
        url: `ssh://host/folder`, `s3://bucket/folder`, `gdrive://id`, `https://host/folder` or a folder.
        options: Options of DVC's remotes, by name.

    Returns:
        The parts. A user and a password in the address are private; so is an address with a query or a
        fragment, where tokens stand, and an endpoint that only one network knows.

    Raises:
        ValueError: If the address or an option is none that DVC takes.

    Examples:
        >>> remote = read_remote("ssh://ada:secret@host:2222/data", {})
        >>> remote.shared
        {'url': 'ssh://host:2222/data', 'verify': 'true'}
        >>> remote.private
        {'user': 'ada', 'password': 'secret'}
    """
    private: dict[str, str] = {}
    if is_folder(url):
        _check_folder(url)
    else:
        url, private = _split_url(url)
    added = split_options(options)
    # Unless it verifies, DVC takes a damaged file of the remote for the data.
    remote = Remote({"url": url, "verify": "true", **added.shared}, {**private, **added.private})
    if urlsplit(url).scheme in {"http", "https"} and "password" in remote.private:
        remote.shared.setdefault("auth", "basic")
    check_options({**remote.shared, **remote.private})
    return remote


def split_options(options: Mapping[str, str]) -> Remote:
    """Tell shared options from private ones."""
    shared = {key: value for key, value in options.items() if _is_shared(key, value)}
    return Remote(shared, {key: value for key, value in options.items() if key not in shared})


def check_options(options: Mapping[str, str]) -> None:
    """Hold a remote's options against what DVC takes for its kind.

    Raises:
        ValueError: If an option has no such name or value.
    """
    scheme = "" if is_folder(options["url"]) else urlsplit(options["url"]).scheme
    known = sorted({str(key) for key in REMOTE_SCHEMAS[scheme]} - {"url"})
    for name in options:
        if name != "url" and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"they are {', '.join(known)}"
            raise ValueError(
                f"An option of {scheme or 'a folder'} must be one that DVC has; found {name!r}; {hint}"
            )
    try:
        ByUrl(REMOTE_SCHEMAS)(dict(options))
    except Invalid as error:
        name = str(error.path[0]) if error.path else "url"
        # Never the value: it may be a secret.
        raise ValueError(f"Option {name} must be as DVC takes it: {error.msg}; give another value") from None


def is_folder(url: str) -> bool:
    """Tell a folder from an address."""
    return "://" not in url


def _is_shared(key: str, value: str) -> bool:
    if key == "endpointurl":
        return not _is_of_one_network(urlsplit(value).hostname or "")
    if key == "ssl_verify":  # or the path of a certificate
        return value.lower() in {"true", "false"}
    return key in SHARED_OPTIONS


def _is_of_one_network(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host


def _check_folder(url: str) -> None:
    host, colon, _ = url.partition(":")
    if colon and "/" not in host and len(host) > 1:
        raise ValueError(f"An SSH address must be written as ssh://host/folder; found {_without_user(url)}")
    if not Path(url).is_absolute():
        raise ValueError(
            f"A shared folder must be written from the root, since each clone lies elsewhere; found {url}; "
            f"give {Path(url).expanduser().resolve()}"
        )


def _without_user(text: str) -> str:
    return text.rpartition("@")[2]


def _split_url(url: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(url)
    kinds = sorted(set(REMOTE_SCHEMAS) - {"", "remote"})
    if parts.scheme not in kinds:
        raise ValueError(
            f"A remote's address must begin with one of {', '.join(kinds)}, or be a folder; "
            f"found {parts.scheme}://"
        )
    if not parts.hostname:
        raise ValueError(f"A remote's address must name a host, a bucket or an id; found {parts.scheme}://")
    if parts.scheme == "ssh" and parts.path in {"", "/"}:
        raise ValueError(
            f"An SSH address must name a folder of the server; found none; give ssh://{parts.hostname}/folder"
        )
    place = _without_user(parts.netloc)
    user, password = ("access_key_id", "secret_access_key") if parts.scheme == "s3" else ("user", "password")
    private = {}
    if parts.username:
        private[user] = unquote(parts.username)
    if parts.password:
        private[password] = unquote(parts.password)
    if parts.query or parts.fragment:
        private["url"] = urlunsplit((parts.scheme, place, parts.path, parts.query, parts.fragment))
    return urlunsplit((parts.scheme, place, parts.path, "", "")), private

"""Write where the team's data is into DVC's settings, and one person's credentials beside them."""

import subprocess
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from dvc.config import Config
from dvc.exceptions import NotDvcRepoError
from dvc.repo import Repo
from dvc_objects.fs import known_implementations

from canopy.places import describe_place
from canopy.remotes.address import Remote, check_options, is_folder, read_remote, split_options

# The name that DVC knows the team's remote by.
NAME = "storage"

# Kinds of remotes whose plugin is an extra of pyproject.toml.
EXTRAS = {"gdrive", "s3"}

NONE_SET = 'A remote must be set; found none; run "make remote URL=ssh://host/folder" first'


def set_remote(url: str | None, words: Sequence[str], *, ask: Callable[[str], str]) -> Remote:
    """Set the team's remote, or one's own options of the remote that is set.

    Args:
        url: Where the data is. It replaces all that was set; without it the options are added to what is set.
        words: Options of DVC's remotes, `key=value`; an empty value is asked for.
        ask: Gives the value of an option that is not to stand on the command line.

    Returns:
        What has been written.

    Raises:
        ValueError: If the address or an option is wrong, or what it needs is not there.
    """
    options = _read_options(words)
    config = project_config()
    shared, own = (config.load_one(level)["remote"].get(NAME, {}) for level in ("repo", "local"))
    if url is None and not shared:
        raise ValueError(NONE_SET)
    if url is None:
        remote = split_options(options)
        # Credentials belong to the address that they were set for.
        kept = own if _is_same(own.get("url"), shared["url"]) else {"url": shared["url"]}
        known = Remote(shared, kept)
    else:
        remote = read_remote(url, options)
        require_place(remote.shared["url"])
        known = Remote({}, {"url": remote.shared["url"]})
    for part in (remote.shared, remote.private):
        for key in [key for key, value in part.items() if not value]:
            part[key] = ask(key)
            if not part[key]:
                raise ValueError(f"{key} must not be empty; found nothing typed or piped in; run it again")
    whole = Remote({**known.shared, **remote.shared}, {**known.private, **remote.private})
    check_options({**whole.shared, **whole.private})
    _write(config, whole)
    return remote


def current_remote(config: Config, name: str | None = None) -> dict[str, str]:
    """Give the options of a remote that is set, the default one if it is not named.

    Raises:
        ValueError: If there is none, or one's own options were set for another address.
    """
    name = name or config["core"].get("remote")
    if name is None:
        raise ValueError(NONE_SET)
    if name not in config["remote"]:
        known = ", ".join(config["remote"]) or "none"
        raise ValueError(f'Remote {name!r} must be one that is set; found {known}; run "dvc remote list"')
    shared, own = (config.load_one(level)["remote"].get(name, {}) for level in ("repo", "local"))
    if shared and "url" in own and not _is_same(own["url"], shared["url"]):
        raise ValueError(
            f"Your options must be for the team's remote, {shared['url']}; found them for {own['url']}; "
            'if the data has moved there, set them again: make remote ARGS="..."'
        )
    return dict(config["remote"][name])


def require_place(url: str) -> None:
    """Refuse a remote whose plugin is not installed, or whose folder is not there.

    Raises:
        ValueError: If the plugin of this kind of address is missing.
        FileNotFoundError: If the shared folder does not exist: DVC would make it where nothing is mounted.
    """
    if is_folder(url):
        if not Path(url).is_dir():
            raise FileNotFoundError(
                f"The shared folder must exist; found {describe_place(url) or 'none'} at {url}; mount it, or "
                "make it first"
            )
        return
    scheme = urlsplit(url).scheme
    module = known_implementations[scheme]["class"].partition(".")[0]
    if find_spec(module) is None:
        package = module.replace("_", "-")
        out = (
            "docs/sharing.md tells how to install it" if scheme in EXTRAS else f'run "pip install {package}"'
        )
        raise ValueError(f"{scheme}:// must have its package {package} installed; found none; {out}")


def _read_options(words: Sequence[str]) -> dict[str, str]:
    options = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"Options must be written key=value; found {key!r}; the address goes to URL=...")
        options[key] = value
    return options


def project_config() -> Config:
    try:
        return Config(Repo.find_dvc_dir())
    except NotDvcRepoError as error:
        raise ValueError(
            f"Commands must run in the project's folder; found no .dvc in {Path.cwd()}"
        ) from error


def _is_same(own: str | None, shared: str) -> bool:
    return own is not None and (
        own == shared or urlsplit(own)._replace(query="", fragment="").geturl() == shared
    )


def _write(config: Config, remote: Remote) -> None:
    local = Path(config.files["local"])
    ignored = subprocess.run(["git", "check-ignore", "--quiet", str(local)], check=False, cwd=local.parent)
    if ignored.returncode == 1:
        raise ValueError(f"Git must ignore {local.name}; it does not; add /{local.name} to .dvc/.gitignore")
    local.touch(mode=0o600)
    local.chmod(0o600)
    # One's own part has the address too: commits from before the remote was set have none, and DVC reads
    # no commit where a remote has options without an address.
    for level, options in (("repo", remote.shared), ("local", remote.private)):
        with config.edit(level, validate=False) as content:
            content["remote"][NAME] = options
            content["core"]["remote"] = NAME

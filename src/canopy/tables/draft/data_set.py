"""Make the folder of a data set: its params.yaml, and a copy of its file."""

import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import jinja2

from canopy.files import atomic_folder, sha256
from canopy.quoting import yaml_flow, yaml_text
from canopy.schema.columns import Numeric
from canopy.schema.file_format import COMPRESSIONS
from canopy.tables.draft.draft import Draft

DATA_SETS = Path("datasets")
# Of all rows for test, and of the others for validation.
USUAL_SHARE = 0.2


def split_sizes(n_rows: int, n_classes: int) -> tuple[float, float]:
    """Choose the shares of test and validation rows: a fifth each, or more where a class would have none.

    Examples:
        >>> split_sizes(5000, 3), split_sizes(100, 20), split_sizes(30, 10)
        ((0.2, 0.2), (0.2, 0.2437), (0.3167, 0.475))
    """
    shares = []
    for _ in range(2):
        n_drawn = max(math.ceil(USUAL_SHARE * n_rows), n_classes)
        usual = n_drawn == math.ceil(USUAL_SHARE * n_rows)
        shares.append(USUAL_SHARE if usual else round((n_drawn - 0.5) / n_rows, 4))
        n_rows -= n_drawn
    return shares[0], shares[1]


def default_name(pattern: str | Path) -> str:
    """Name a data set as its file, or as the folder of its files.

    Examples:
        >>> default_name("a/wine.csv.gz"), default_name("a/b"), default_name("a/b/*.csv")
        ('wine', 'b', 'b')
    """
    path = Path(pattern)
    return (path.parent if set(path.name) & set("*?[") else path).name.split(".")[0]


def check_name(name: str) -> Path:
    """Give the folder of a new data set.

    Raises:
        FileExistsError: If there is a data set of that name.
        ValueError: If the name cannot be one of a folder.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ValueError(
            f"The name of a data set must be letters, digits, - and _; got {name!r}: give --name"
        )
    folder = DATA_SETS / name
    if folder.exists():
        raise FileExistsError(f"{folder} must be new; it exists: give another --name")
    return folder


def write_data_set(draft: Draft, folder: Path, *, train_comment: Sequence[str] = ()) -> None:
    """Write the folder of a data set; `train_comment` says in its section `train` what will be trained.

    Raises:
        ValueError: If two files have one name.
    """
    name, files = folder.name, draft.files
    if len({path.name for path in files}) < len(files):
        names = ", ".join(path.name for path in files[:10])
        raise ValueError(f"The files of a table must have different names; got {names}")
    with atomic_folder(folder) as new:
        if len(files) > 1:
            raw = f"data/raw/{name}"
            copies = [new / raw / path.name for path in files]
        else:
            suffixes = files[0].suffixes[-2:] if files[0].suffix in COMPRESSIONS else [files[0].suffix]
            raw = f"data/raw/{name}{''.join(suffixes)}"
            copies = [new / raw]
        copies[0].parent.mkdir(parents=True)
        hashes = {
            copy.name: sha256(shutil.copy(path, copy)) for path, copy in zip(files, copies, strict=True)
        }
        text = render(
            draft,
            name=name,
            raw=raw,
            sha256=yaml_flow(hashes) if len(files) > 1 else hashes[copies[0].name],
            train_comment=train_comment,
        )
        (new / "params.yaml").write_text(text, encoding="utf-8")


def render(draft: Draft, *, name: str, raw: str, sha256: str, train_comment: Sequence[str] = ()) -> str:
    """Write `params.yaml`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("canopy.tables.draft", "."),
        autoescape=False,  # noqa: S701 - YAML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"text": yaml_text, "flow": yaml_flow}
    classes = draft.schema.target.classes
    test_size, val_size = split_sizes(draft.n_rows, 0 if classes == "auto" else len(classes))
    return environment.get_template("params.yaml.jinja").render(
        name=name,
        raw=raw,
        sha256=sha256,
        source=draft.files[0].name,
        table=draft.table,
        remarks={finding.name: finding.remark for finding in [draft.target, *draft.columns]},
        has_numbers=any(isinstance(finding.column, Numeric) for finding in draft.columns),
        test_size=test_size,
        val_size=val_size,
        train_comment=train_comment,
    )

"""Make the folder of a data set: its params.yaml, and a copy of its file."""

import math
import re
import shutil
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
        n_usual = math.ceil(USUAL_SHARE * n_rows)
        n_drawn = max(n_usual, n_classes)
        shares.append(USUAL_SHARE if n_drawn == n_usual else round((n_drawn - 0.5) / n_rows, 4))
        n_rows -= n_drawn
    return shares[0], shares[1]


def new_folder(pattern: str, name: str | None = None) -> Path:
    """Choose the folder of a new data set, without a name that of its file or of the folder of its files."""
    path = Path(pattern)
    name = name or (path.parent if set(path.name) & set("*?[") else path).name.split(".")[0]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ValueError(
            f"The name of a data set must be letters, digits, - and _; got {name!r}: give --name"
        )
    folder = DATA_SETS / name
    if folder.exists():
        raise FileExistsError(f"{folder} must be new; it exists: give another --name")
    return folder


def write_data_set(draft: Draft, folder: Path) -> None:
    """Write the folder of a data set."""
    raw = Path("data/raw", folder.name)
    if len(draft.files) == 1:
        n_suffixes = 2 if draft.files[0].suffix in COMPRESSIONS else 1
        raw = raw.with_name(raw.name + "".join(draft.files[0].suffixes[-n_suffixes:]))
    copies = {path: raw / path.name if len(draft.files) > 1 else raw for path in draft.files}
    if len({*copies.values()}) < len(copies):
        raise ValueError(f"The files of a table must have different names; got {', '.join(map(str, copies))}")
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
    with atomic_folder(folder) as new:
        (new / raw if len(copies) > 1 else new / raw.parent).mkdir(parents=True)
        hashes = {copy.name: sha256(shutil.copy(path, new / copy)) for path, copy in copies.items()}
        text = environment.get_template("params.yaml.jinja").render(
            name=folder.name,
            raw=raw,
            sha256=yaml_flow(hashes) if len(copies) > 1 else hashes[raw.name],
            source=draft.files[0].name,
            table=draft.table,
            remarks={values.name: values.remark for values in [draft.target, *draft.columns]},
            has_numbers=any(isinstance(values.column, Numeric) for values in draft.columns),
            test_size=test_size,
            val_size=val_size,
        )
        (new / "params.yaml").write_text(text, encoding="utf-8")

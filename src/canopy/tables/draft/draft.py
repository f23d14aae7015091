"""Draft the schema of a table: its dialect, the kind of each column, its target; write it as a data set."""

import math
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from canopy.files import atomic_folder, sha256
from canopy.names import nearest, shorten
from canopy.quoting import yaml_flow, yaml_text
from canopy.schema.columns import Ignored, Key, Numeric
from canopy.schema.table import COMPRESSIONS, STRICT, FileFormat, TableSchema
from canopy.tables.draft.dialect import find_style, remove_markers, settle_markers, sniff
from canopy.tables.draft.kinds import set_kind
from canopy.tables.draft.target import find_leaks, set_target
from canopy.tables.draft.values import DraftedColumn, TableValues
from canopy.tables.reader import TableFile, open_duckdb
from canopy.tables.text import find_files

DATA_SETS = Path("datasets")
N_SHOWN = 10
# Of all rows for test, and of the others for validation.
USUAL_SHARE = 0.2


@dataclass(frozen=True)
class Draft:
    """The schema of a table, and what was found out about it."""

    files: list[Path]
    n_rows: int
    file: FileFormat
    target: DraftedColumn
    columns: list[DraftedColumn]

    @property
    def table(self) -> dict[str, Any]:
        """The section `table` of `params.yaml`, without texts for people."""
        return {
            "file": self.file.model_dump(exclude_defaults=True),
            "target": self.target.column.model_dump(exclude_unset=True),
            "columns": {
                c.name: {"kind": c.kind, **c.column.model_dump(exclude_unset=True)} for c in self.columns
            },
            "defaults": STRICT.model_dump(exclude_none=True),
        }

    @property
    def schema(self) -> TableSchema:
        return TableSchema.parse(self.table)

    @property
    def n_training_rows(self) -> int:
        return round((1 - USUAL_SHARE) ** 2 * self.n_rows)


def draft_table(
    pattern: str | Path,
    *,
    target: str,
    target_kind: str | None = None,
    file_options: Mapping[str, Any] | None = None,
) -> Draft:
    """Draft the schema of a table (`find_files`) from all its values.

    `target_kind` (categorical or numeric) and `file_options` need not be found.
    """
    paths, known = find_files(pattern), dict(file_options or {})
    file_format = sniff(paths[0], **known)
    files = [TableFile(path, file_format) for path in paths]
    if target not in (names := files[0].names):
        raise ValueError(
            f"--target must be a column of {paths[0]}, which starts with a header of names such as "
            f"{', '.join(map(repr, names[:N_SHOWN]))}; got {target!r}{nearest(target, names)}"
        )
    with open_duckdb(on_disk=True) as connection:
        table = TableValues(connection, files)
        remove_markers(table.columns, known.get("null_values"))
        if not {"decimal", "thousands"} & known.keys():
            file_format = find_style(table.columns, file_format)
        columns = [*table.columns]
        found = columns.pop(names.index(target))
        for values in columns:
            set_kind(values, file_format)
        set_target(found, file_format, kind=target_kind)
        find_leaks(columns, found, file_format)
        null_values = settle_markers(table.columns, known.get("null_values"))
        file_format = file_format.model_copy(update={"null_values": null_values})
    if all(isinstance(values.column, Ignored | Key) for values in columns):
        got = "; ".join(f"{values.name}: {values.why}" for values in columns[:N_SHOWN])
        raise ValueError(f"{paths[0]} must have a feature besides {target!r}; got keys and the like:\n{got}")
    return Draft(paths, table.n_rows, file_format, found, columns)


def describe(draft: Draft) -> str:
    """Describe a table, its target and each column; an exclamation mark is before what deserves a look."""
    columns = [draft.target, *draft.columns]
    names = [shorten(values.name, length=32) for values in columns]
    width = max(map(len, names))
    dialect = draft.file.model_dump(exclude_defaults=True, exclude={"trim"})
    form = "".join(f", {key} {value!r}" for key, value in dialect.items() if value != ("",))
    files = draft.files[0] if len(draft.files) == 1 else f"{len(draft.files)} files"
    lines = [f"{files}: {draft.n_rows:,} rows, {len(columns)} columns{form}"]
    for name, values in zip(names, columns, strict=True):
        lines.append(f"{'!' if values.looks else ' '} {name:<{width}}  {values.kind:<11}  {values.remark}")
    return "\n".join(lines)


def split_sizes(n_rows: int, n_classes: int) -> tuple[float, float]:
    """Choose the shares of test and validation rows: a fifth each, or more where a class would have none."""
    shares = []
    for _ in range(2):
        n_usual = math.ceil(USUAL_SHARE * n_rows)
        shares.append(USUAL_SHARE if n_usual >= n_classes else round((n_classes - 0.5) / n_rows, 4))
        n_rows -= max(n_usual, n_classes)
    return shares[0], shares[1]


def new_folder(pattern: str, name: str | None = None) -> Path:
    """Choose the folder of a new data set, without a name that of its file or of the folder of its files."""
    path = Path(pattern)
    name = name or (path.parent if set(path.name) & set("*?[") else path).name.split(".")[0]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ValueError(f"A data set's name must be letters, digits, - and _; got {name!r}: give --name")
    folder = DATA_SETS / name
    if folder.exists():
        raise FileExistsError(f"{folder} must be new; it exists: give another --name")
    return folder


def write_data_set(draft: Draft, folder: Path, *, train_comment: Sequence[str] = ()) -> None:
    """Write the folder of a data set, `train_comment` into its section `train`."""
    raw, first, is_one = Path("data/raw", folder.name), draft.files[0], len(draft.files) == 1
    if is_one:
        raw = raw.with_name(raw.name + "".join(first.suffixes[-2 if first.suffix in COMPRESSIONS else -1 :]))
    copies = {path: raw if is_one else raw / path.name for path in draft.files}
    if len({*copies.values()}) < len(copies):
        raise ValueError(f"The files of a table must have different names; got {', '.join(map(str, copies))}")
    options: Any = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    environment = jinja2.Environment(**options, undefined=jinja2.StrictUndefined)  # noqa: S701 - YAML
    environment.filters |= {"text": yaml_text, "flow": yaml_flow}
    template = environment.from_string(Path(__file__).with_name("params.yaml.jinja").read_text())
    classes = draft.schema.target.classes
    n_classes = 0 if classes == "auto" else len(classes)
    with atomic_folder(folder) as new:
        (new / (raw.parent if is_one else raw)).mkdir(parents=True)
        hashes = {copy.name: sha256(shutil.copy(path, new / copy)) for path, copy in copies.items()}
        text = template.render(
            name=folder.name,
            raw=raw,
            sha256=hashes[raw.name] if is_one else yaml_flow(hashes),
            source=first.name,
            table=draft.table,
            remarks={values.name: values.remark for values in [draft.target, *draft.columns]},
            has_numbers=any(isinstance(values.column, Numeric) for values in draft.columns),
            sizes=split_sizes(draft.n_rows, n_classes),
            n_rows=draft.n_rows,
            is_number=draft.schema.target.is_numeric,
            train_comment=train_comment,
        )
        (new / "params.yaml").write_text(text, encoding="utf-8")

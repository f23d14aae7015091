"""Draft the `params.yaml` of a table from its file, for a person to correct."""

import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from canopy.files import atomic_folder, sha256
from canopy.params_sections import Table
from canopy.places import require_file
from canopy.quoting import yaml_text
from canopy.table.checks import shorten
from canopy.table.csv import check_header, read_columns
from canopy.table.names import nearest

DATA_SETS = Path("datasets")

# A column of text with more values than these is no category, and a target with more has no classes.
MAX_CATEGORIES = 60


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What the columns of a table seem to be.

    Attributes:
        n_rows: Number of its rows.
        numeric: Numeric columns, and whether values of each are missing.
        text: Columns of text with their categories, and whether values of each are missing.
        ignored: The other columns, and why they are left alone.
        classes: Values of the target.
    """

    n_rows: int
    numeric: dict[str, bool] = field(default_factory=dict)
    text: dict[str, tuple[list[str], bool]] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)

    @property
    def batch_size(self) -> int:
        """The power of two that makes some 25 to 50 steps of an epoch, from 16 to 1,024.

        Examples:
            >>> [Draft(n_rows=n).batch_size for n in (150, 1309, 581_012)]
            [16, 32, 1024]
        """
        return max(16, min(1024, 1 << int(math.log2(max(1, self.n_rows / 40)))))


def draft_data_set(path: Path, *, target: str, name: str, missing_values: Sequence[str]) -> Path:
    """Make the folder of a data set: its description, the pipeline and a copy of its table.

    Args:
        path: CSV file with a header line.
        target: Column with the class of each row.
        name: Name of the folder in `datasets/`.
        missing_values: Further ways in which the file writes that there is no value.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: If there is no such file.
        FileExistsError: If there is a data set of that name.
        ValueError: If the file is no CSV, the target is no column of it or has no classes, or no feature is
            found.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ValueError(
            f"The name of a data set must be letters, digits, - and _; found {name!r}: say --name"
        )
    folder = DATA_SETS / name
    if folder.exists():
        raise FileExistsError(f"{folder} must be new; found it there: say another --name")
    texts = [*Table().missing_values, *missing_values]
    draft = describe(path, target=target, missing_values=texts)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("canopy.table", "."),
        autoescape=False,  # noqa: S701 - YAML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        lstrip_blocks=True,
    )
    environment.filters["text"] = yaml_text
    template = environment.get_template("params.yaml.jinja")
    with atomic_folder(folder) as new:
        (new / "data/raw").mkdir(parents=True)
        raw = shutil.copy(path, new / f"data/raw/{name}.csv")
        (new / "params.yaml").write_text(
            template.render(name=name, target=target, draft=draft, missing_values=texts, sha256=sha256(raw)),
            encoding="utf-8",
        )
    return folder


def describe(path: Path, *, target: str, missing_values: Sequence[str]) -> Draft:
    """Say what each column of a table seems to be.

    Args:
        path: CSV file with a header line.
        target: Column with the class of each row.
        missing_values: How the file writes that there is no value.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no CSV, the target is no column of it or has no classes, or no feature is
            found.
    """
    require_file(path, name="The table ")
    names = check_header(path, [], optional=None)
    if target not in names:
        near = nearest(target, names) or f"; the columns are {', '.join(names)}"
        raise ValueError(
            f"--target must be a column of {path}, its values separated by commas; found {target!r}{near}"
        )
    table = read_columns(path, names, types={target: pa.string()}, missing_values=missing_values)
    words = [column.name for column in table.schema if not _is_number(column.type)]
    # What Arrow takes for a date or a truth value is text here.
    texts = read_columns(path, words, types=dict.fromkeys(words, pa.string()), missing_values=missing_values)
    classes = sorted(pc.unique(texts[target].drop_null()).to_pylist(), key=_order)
    draft = Draft(n_rows=table.num_rows, classes=classes)
    if not 2 <= len(draft.classes) <= MAX_CATEGORIES:
        raise ValueError(
            f"--target must have from 2 to {MAX_CATEGORIES} classes; found {len(draft.classes):,} values in "
            f"{target!r}"
        )
    for name in names:
        if name == target:
            continue
        if name not in words:
            draft.numeric[name] = table[name].null_count > 0
            continue
        column = texts[name]
        categories = sorted(pc.unique(column.drop_null()).to_pylist(), key=_order)
        if not categories:
            draft.ignored[name] = "no value in any row"
        elif len(categories) > MAX_CATEGORIES:
            example = shorten(yaml_text(categories[0]), length=40)
            draft.ignored[name] = f"{len(categories):,} different texts, such as {example}"
        else:
            draft.text[name] = (categories, column.null_count > 0)
    if not draft.numeric and not draft.text:
        raise ValueError(
            f"{path} must have a feature beside {target!r}; found none that is a number or category"
        )
    return draft


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _order(value: str) -> tuple[float, str]:
    """Sort numbers by their size, texts after them."""
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value

"""Stage `normalize`: fit the scaling of the numeric columns on training rows and apply it to all."""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from omegaconf import DictConfig, ListConfig

from canopy.prepare.normalization import Method, Scaling, fit_scaling, save_normalization
from canopy.table.csv import read_table, write_table
from canopy.table.kept import kept_table
from canopy.table.names import match_columns
from canopy.table.spec import SPLIT_COLUMN

log = logging.getLogger(__name__)


def choose_methods(names: list[str], entries: ListConfig | list[dict[str, object]]) -> dict[str, Method]:
    """Find the method of each numeric column: the first entry with a pattern that matches decides.

    Args:
        names: Numeric columns.
        entries: The list `normalize.methods`, each entry with `columns` (patterns) and `method`.

    Returns:
        Column to method, in the order of `names`.

    Raises:
        ValueError: If a pattern matches no column, or a column is matched by no pattern.
    """
    chosen: dict[str, Method] = {}
    for entry in entries:
        for name in match_columns(names, entry["columns"]):  # type: ignore[arg-type]
            chosen.setdefault(name, entry["method"])  # type: ignore[arg-type]
    for name in names:
        if name not in chosen:
            raise ValueError(
                f"normalize.methods must match each numeric column; found none for {name!r}: "
                'end the list with {columns: ["*"], method: z_score}'
            )
    return {name: chosen[name] for name in names}


def run(params: DictConfig) -> None:
    """Scale the numeric columns and save the parameters that do it."""
    spec = kept_table(params)
    interim = Path(params.paths.interim)
    methods = choose_methods([column.name for column in spec.numeric], params.normalize.methods)
    table = read_table(interim / "split.csv", spec, with_split=True)
    training = pc.equal(table[SPLIT_COLUMN], "train").to_numpy()
    scalings: dict[str, Scaling] = {}
    for column in spec.numeric:
        name, method = column.name, methods[column.name]
        values = table[name].to_numpy()
        scalings[name] = scaling = fit_scaling(
            values[training], method, column=name, fill_missing_values=column.missing == "median"
        )
        filled = "" if scaling.fill is None else f", {scaling.fill:g} where it is missing"
        log.info("%s: %s%s", name, method, filled)
        # The file holds what training reads: single precision.
        scaled = pa.array(scaling.apply(values).astype(np.float32))
        table = table.set_column(table.column_names.index(name), name, scaled)
    write_table(table, interim / "normalize.csv", description="normalize")
    save_normalization(Path(params.paths.processed) / "normalization.json", scalings)

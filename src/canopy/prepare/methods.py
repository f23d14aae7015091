"""Which scaling method each numeric column has."""

from omegaconf import ListConfig

from canopy.names import match_columns
from canopy.prepare.scaling import Method


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

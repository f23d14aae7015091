"""The table that is left after columns have been dropped."""

from omegaconf import DictConfig

from canopy.table.spec import TableSpec, match_columns


def kept_table(params: DictConfig) -> TableSpec:
    """Describe the table without the columns that `drop_columns.columns` names or matches.

    Args:
        params: All of `params.yaml`.

    Returns:
        What the stages after `drop_columns` work on.

    Raises:
        ValueError: If a name or pattern matches no column, or the target or every feature is dropped.
    """
    spec = TableSpec.from_config(params.table)
    return spec.without(match_columns(spec.columns, params.drop_columns.columns))

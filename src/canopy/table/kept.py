"""The table that is left after columns have been dropped."""

from omegaconf import DictConfig

from canopy.table.names import match_columns
from canopy.table.spec import TableSpec


def kept_table(params: DictConfig) -> TableSpec:
    """Describe the table without the columns that `drop_columns.columns` names or matches.

    The name of a column of text stands for all the one-hot columns that are made of it.

    Args:
        params: All of `params.yaml`.

    Returns:
        What the stages after `drop_columns` work on.

    Raises:
        ValueError: If a name or pattern matches no column, or the target or every feature is dropped.
    """
    spec = TableSpec.from_config(params.table)
    texts = {group.name: group for group in spec.groups if group.made_of == "text"}
    dropped = match_columns([*spec.columns, *texts], params.drop_columns.columns)
    of_texts = [column for name in dropped if name in texts for column in texts[name].columns]
    return spec.without({*dropped, *of_texts})

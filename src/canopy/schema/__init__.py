"""What a table is: its file, its columns, its target, and what happens to values that do not fit."""

from canopy.schema.table import TableSchema

__all__ = ["TableSchema"]

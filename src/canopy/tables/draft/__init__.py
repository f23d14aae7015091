"""Draft the schema of a table from its file."""

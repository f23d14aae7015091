"""The table: what its columns are, and reading and writing it as CSV."""

"""Loggers that a resumed run continues; the others come from Lightning."""

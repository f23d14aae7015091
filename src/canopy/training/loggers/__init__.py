"""Loggers that a resumed run goes on writing; the others come from Lightning."""
